"""Fetches a paid URL through `farthing agentd`: python3 agentd.py URL"""
import json, os, sys, urllib.request

home = os.environ.get("FARTHING_HOME") or os.path.expanduser("~/.farthing")
token = open(os.path.join(home, "agentd.token")).read().strip()
agentd = os.environ.get("FARTHING_AGENTD", "http://127.0.0.1:4020")
headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
asked = json.dumps({"url": sys.argv[1], "max_price": "0.01 XTS"}).encode()
with urllib.request.urlopen(urllib.request.Request(f"{agentd}/fetch", asked, headers)) as answer:
    print(answer.read().decode())
    print("It cost", answer.headers["farthing-payment-cost"])
