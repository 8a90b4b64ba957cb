// What this browser keeps for this site: the wallet's key, and the payment for each address.

const opened = () =>
  new Promise((done, failed) => {
    const request = indexedDB.open("farthing-paywall", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("wallet");
      request.result.createObjectStore("payments");
    };
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });

/** Does one thing in one table, and returns when it is on disk. */
async function within(table, mode, act) {
  const database = await opened();
  try {
    return await new Promise((done, failed) => {
      const transaction = database.transaction(table, mode, { durability: "strict" });
      const request = act(transaction.objectStore(table));
      transaction.oncomplete = () => done(request.result);
      transaction.onerror = transaction.onabort = () => failed(transaction.error);
    });
  } finally {
    database.close();
  }
}

const read = (table, key) => within(table, "readonly", (store) => store.get(key));
const write = (table, key, value) => within(table, "readwrite", (store) => store.put(value, key));
const forget = (table, key) => within(table, "readwrite", (store) => store.delete(key));
