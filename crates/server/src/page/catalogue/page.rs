//! The words of the page that pays, and of the text for people without a browser.

use super::Text;

/// Key and text.
pub(in crate::page) const PAGE: &[(&str, Text)] = &[
    // What is sold.
    ("kicker", ["Paid content", "付費內容", "付费内容", "有料コンテンツ"]),
    ("problem", ["Notice", "通知", "通知", "お知らせ"]),
    ("untitled", ["This page has a price", "此頁面需要付費", "此页面需要付费", "このページは有料です"]),
    ("price", ["Price", "價格", "价格", "価格"]),
    ("once", ["for this one request", "僅此一次請求", "仅此一次请求", "この一回のリクエスト分"]),
    (
        "for_pass",
        [
            "for a pass: pay once, come back as often as you like",
            "購買通行證：付款一次，期間內可重複使用",
            "购买通行证：付款一次，期间内可重复使用",
            "パス：一度のお支払いで、期間中は何度でも",
        ],
    ),
    (
        "at_most",
        [
            "at most; only what is used is taken",
            "為上限，僅收取實際用量",
            "为上限，仅收取实际用量",
            "が上限で、使った分だけ引き落とされます",
        ],
    ),
    (
        "test_money",
        [
            "Test money, worth nothing",
            "測試用貨幣，無實際價值",
            "测试用货币，无实际价值",
            "テスト用通貨（価値はありません）",
        ],
    ),
    ("address", ["Address", "網址", "网址", "アドレス"]),
    ("kind", ["Format", "格式", "格式", "形式"]),
    ("seller", ["Paid to", "收款人", "收款人", "支払先"]),
    ("network", ["Network", "網路", "网络", "ネットワーク"]),
    ("valid", ["Offer valid for", "報價有效時間", "报价有效时间", "提示価格の有効時間"]),
    (
        "promise",
        [
            "The amount is held first and taken only when the content is delivered. If that fails, nothing is charged.",
            "款項會先保留，內容送達後才扣款。若未能送達，則不收費。",
            "款项会先保留，内容送达后才扣款。若未能送达，则不收费。",
            "金額はまず確保され、内容が届いたときにのみ引き落とされます。失敗した場合、請求はありません。",
        ],
    ),
    ("code", ["Code", "代碼", "代码", "コード"]),
    ("details", ["Details", "詳細說明", "详细说明", "詳細"]),
    ("again", ["Try again", "再試一次", "再试一次", "もう一度試す"]),
    // The wallet.
    ("choose", ["Pay with", "付款方式", "付款方式", "支払い方法"]),
    ("wallet", ["Your wallet", "您的錢包", "您的钱包", "あなたのウォレット"]),
    (
        "wallet_none",
        [
            "You have no wallet for this site yet. It takes one press and no registration.",
            "您在此網站尚無錢包。只需按一下，無須註冊。",
            "您在此网站尚无钱包。只需按一下，无须注册。",
            "このサイトのウォレットはまだありません。ボタン一つで作成でき、登録は不要です。",
        ],
    ),
    (
        "wallet_note",
        [
            "The wallet’s key is made in this browser, never leaves it and cannot be copied. If you clear this site’s \
             data, the wallet is gone with what is in it.",
            "金鑰在此瀏覽器中產生，不會離開瀏覽器，也無法複製。若清除此網站的資料，錢包與其中的款項將一併消失。",
            "密钥在此浏览器中生成，不会离开浏览器，也无法复制。若清除此网站的数据，钱包与其中的款项将一并消失。",
            "鍵はこのブラウザーで作られ、外に出ることも複製されることもありません。サイトのデータを消去すると、残高ごと失われます。",
        ],
    ),
    ("wallet_make", ["Set up a wallet", "建立錢包", "创建钱包", "ウォレットを作成"]),
    ("wallet_made", ["Your wallet is ready.", "錢包已建立。", "钱包已创建。", "ウォレットができました。"]),
    ("account", ["Account", "帳戶", "账户", "アカウント"]),
    ("balance", ["Balance", "餘額", "余额", "残高"]),
    ("top_up", ["Add test money", "加入測試貨幣", "充值测试货币", "テスト通貨を追加"]),
    (
        "topping_up",
        ["Adding test money …", "正在加入測試貨幣…", "正在充值测试货币…", "テスト通貨を追加しています…"],
    ),
    (
        "topped_up",
        [
            "{amount} was added to your wallet.",
            "已將 {amount} 加入錢包。",
            "已将 {amount} 充入钱包。",
            "{amount} をウォレットに追加しました。",
        ],
    ),
    (
        "top_up_failed",
        [
            "No test money was added: {why}",
            "未加入測試貨幣：{why}",
            "未充值测试货币：{why}",
            "テスト通貨を追加できませんでした：{why}",
        ],
    ),
    (
        "faucet-used",
        [
            "This wallet was given its test money for this hour. Try again later.",
            "此錢包在這一小時內已領取測試貨幣，請稍後再試。",
            "此钱包在这一小时内已领取测试货币，请稍后再试。",
            "このウォレットはこの一時間分のテスト通貨を受け取り済みです。後でもう一度お試しください。",
        ],
    ),
    (
        "faucet-empty",
        [
            "All test money of this hour is given away. Try again later.",
            "這一小時的測試貨幣已全部發放，請稍後再試。",
            "这一小时的测试货币已全部发放，请稍后再试。",
            "この一時間分のテスト通貨はすべて配布されました。後でもう一度お試しください。",
        ],
    ),
    (
        "too_little",
        ["Your balance is below the price.", "餘額低於價格。", "余额低于价格。", "残高が価格に足りません。"],
    ),
    (
        "ask_seller",
        [
            "Ask the seller to credit your account: {account}",
            "請聯絡賣方為您的帳戶儲值：{account}",
            "请联系卖方为您的账户充值：{account}",
            "販売者にアカウントへの入金を依頼してください：{account}",
        ],
    ),
    // Paying.
    ("pay", ["Pay {price}", "支付 {price}", "支付 {price}", "{price} を支払う"]),
    ("paying", ["Paying …", "付款中…", "付款中…", "支払っています…"]),
    (
        "pay_again",
        ["Buy it anew for {price}", "以 {price} 重新購買", "以 {price} 重新购买", "{price} で新しく購入"],
    ),
    ("sure_title", ["Pay a second time?", "要再付一次款嗎？", "要再付一次款吗？", "もう一度支払いますか？"]),
    (
        "sure",
        [
            "You paid for this address on {date}. Paying again costs another {price} and fetches it anew.",
            "您已於 {date} 為此網址付款。再次付款將另收 {price} 並重新取得內容。",
            "您已于 {date} 为此网址付款。再次付款将另收 {price} 并重新获取内容。",
            "{date} にこのアドレスの支払いを済ませています。再度支払うとさらに {price} かかり、新しく取得します。",
        ],
    ),
    ("cancel", ["Cancel", "取消", "取消", "キャンセル"]),
    (
        "expired",
        ["This offer has run out.", "此報價已過期。", "此报价已过期。", "この提示価格は期限切れです。"],
    ),
    ("refresh", ["Get the current price", "取得最新價格", "获取最新价格", "現在の価格を取得"]),
    (
        "changed",
        [
            "The offer has changed. Please read it again before you pay.",
            "報價已變更。付款前請再確認一次。",
            "报价已变更。付款前请再确认一次。",
            "提示内容が変わりました。支払う前にもう一度ご確認ください。",
        ],
    ),
    (
        "refused",
        [
            "The payment was not accepted; nothing was charged. {why}",
            "付款未被接受，未扣款。{why}",
            "付款未被接受，未扣款。{why}",
            "支払いは受け付けられず、請求は発生していません。{why}",
        ],
    ),
    (
        "voided",
        [
            "The content could not be delivered, and the payment was given back. Nothing was charged.",
            "無法提供內容，付款已退回。未扣款。",
            "无法提供内容，付款已退回。未扣款。",
            "内容を提供できず、支払いは取り消されました。請求は発生していません。",
        ],
    ),
    (
        "looking",
        [
            "You have paid for this address before. Fetching it with the same payment …",
            "您先前已為此網址付款。正以同一筆付款取得內容…",
            "您先前已为此网址付款。正以同一笔付款获取内容…",
            "このアドレスは支払い済みです。同じ支払いで取得しています…",
        ],
    ),
    (
        "unknown",
        [
            "It is not certain yet whether your payment went through. The same payment is being presented again; you \
             will not pay twice.",
            "尚不確定付款是否完成。系統正以同一筆付款重試，您不會重複付款。",
            "尚不确定付款是否完成。系统正以同一笔付款重试，您不会重复付款。",
            "支払いが完了したかまだ確認できていません。同じ支払いを再提示しており、二重に支払うことはありません。",
        ],
    ),
    (
        "try_now",
        [
            "Try now ({seconds} s)",
            "立即重試（{seconds} 秒）",
            "立即重试（{seconds} 秒）",
            "今すぐ再試行（{seconds} 秒）",
        ],
    ),
    (
        "gone",
        [
            "You paid for this on {date}, and the server no longer keeps the answer.",
            "您已於 {date} 付款，但伺服器不再保存該內容。",
            "您已于 {date} 付款，但服务器不再保存该内容。",
            "{date} に支払い済みですが、サーバーは回答をもう保存していません。",
        ],
    ),
    (
        "pass",
        [
            "Your pass is valid. Opening the page; loading it again is free.",
            "您的通行證有效。正在開啟頁面；重新載入免費。",
            "您的通行证有效。正在打开页面；重新加载免费。",
            "パスは有効です。ページを開いています。再読み込みは無料です。",
        ],
    ),
    // What was bought.
    (
        "paid",
        [
            "Paid. Here is your content.",
            "已付款。以下是您的內容。",
            "已付款。以下是您的内容。",
            "支払いが完了しました。内容をご覧ください。",
        ],
    ),
    ("content", ["Your content", "您的內容", "您的内容", "購入した内容"]),
    ("save", ["Save as a file", "另存檔案", "另存文件", "ファイルに保存"]),
    (
        "binary",
        [
            "This content ({kind}, {bytes} bytes) is not shown here.",
            "此內容（{kind}，{bytes} 位元組）無法在此顯示。",
            "此内容（{kind}，{bytes} 字节）无法在此显示。",
            "この内容（{kind}、{bytes} バイト）はここでは表示できません。",
        ],
    ),
    ("receipt", ["Receipt", "收據", "收据", "領収書"]),
    (
        "receipt_good",
        [
            "Signed by the seller, for this payment and this content: checked in your browser.",
            "賣方已為這筆付款與此內容簽署，並經您的瀏覽器驗證。",
            "卖方已为这笔付款与此内容签署，并经您的浏览器验证。",
            "この支払いと内容について販売者が署名し、ブラウザーで検証済みです。",
        ],
    ),
    (
        "receipt_coded",
        [
            "Signed by the seller for this payment: checked in your browser. The content came compressed, so its hash \
             cannot be compared here.",
            "賣方已為這筆付款簽署，並經您的瀏覽器驗證。內容經壓縮傳送，無法在此比對雜湊值。",
            "卖方已为这笔付款签署，并经您的浏览器验证。内容经压缩传送，无法在此比对哈希值。",
            "この支払いについて販売者が署名し、ブラウザーで検証済みです。内容は圧縮されて届いたため、ハッシュはここでは照合できません。",
        ],
    ),
    (
        "receipt_bad",
        [
            "The receipt does not match: {why}. Keep it, and ask the seller.",
            "收據不符：{why}。請保留收據並聯絡賣方。",
            "收据不符：{why}。请保留收据并联系卖方。",
            "領収書が一致しません：{why}。保存して販売者にお問い合わせください。",
        ],
    ),
    (
        "receipt_none",
        [
            "The seller gave no receipt.",
            "賣方未提供收據。",
            "卖方未提供收据。",
            "販売者は領収書を発行していません。",
        ],
    ),
    ("payment", ["Payment", "付款編號", "付款编号", "支払い番号"]),
    ("amount", ["Amount", "金額", "金额", "金額"]),
    ("date", ["Date", "日期", "日期", "日付"]),
    ("receipt_save", ["Save the receipt", "儲存收據", "保存收据", "領収書を保存"]),
    // Without the browser.
    ("other_ways", ["Other ways to pay", "其他付款方式", "其他付款方式", "その他の支払い方法"]),
    ("terminal", ["From a terminal", "從終端機", "从终端", "端末から"]),
    ("offers", ["All offers", "所有報價", "所有报价", "すべての支払い条件"]),
    (
        "no_script",
        [
            "Paying on this page needs JavaScript. You can also pay from a terminal:",
            "在此頁面付款需要 JavaScript。您也可以從終端機付款：",
            "在此页面付款需要 JavaScript。您也可以从终端付款：",
            "このページでの支払いには JavaScript が必要です。端末からも支払えます：",
        ],
    ),
    (
        "no_crypto",
        [
            "This browser cannot sign payments here (it needs Ed25519 of Web Cryptography, over https). Pay from a terminal instead.",
            "此瀏覽器無法在此簽署付款（需要 https 與 Web Cryptography 的 Ed25519）。請改用終端機付款。",
            "此浏览器无法在此签署付款（需要 https 与 Web Cryptography 的 Ed25519）。请改用终端付款。",
            "このブラウザーではここで支払いに署名できません（https と Web Cryptography の Ed25519 が必要です）。端末から支払ってください。",
        ],
    ),
    (
        "no_offer",
        [
            "This page cannot pay by any of the offers. Pay from a terminal instead.",
            "本頁面不支援此內容的任何付款方式。請改用終端機付款。",
            "本页面不支持此内容的任何付款方式。请改用终端付款。",
            "このページでは、どの支払い方法にも対応していません。端末から支払ってください。",
        ],
    ),
    (
        "no_method",
        [
            "Only plain visits can be paid for on this page. Send the request again from a terminal or a program.",
            "此頁面僅能為一般瀏覽付款。請從終端機或程式重新送出請求。",
            "此页面仅能为一般浏览付款。请从终端或程序重新发送请求。",
            "このページで支払えるのは通常の閲覧のみです。端末またはプログラムからもう一度送ってください。",
        ],
    ),
    (
        "other_address",
        [
            "The seller's server says that it is reached at {origin}, which is not where you are. Nothing can be paid here.",
            "賣方伺服器聲明其網址為 {origin}，與您目前所在網址不同，因此無法在此付款。",
            "卖方服务器声明其网址为 {origin}，与您目前所在网址不同，因此无法在此付款。",
            "販売者のサーバーのアドレスは {origin} で、現在のアドレスと異なります。ここでは支払えません。",
        ],
    ),
    ("failed", ["This did not work: {why}", "操作失敗：{why}", "操作失败：{why}", "失敗しました：{why}"]),
    ("copy", ["Copy", "複製", "复制", "コピー"]),
    ("copied", ["Copied.", "已複製。", "已复制。", "コピーしました。"]),
];
