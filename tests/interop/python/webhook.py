"""Verifies a signed request with the library of Standard Webhooks: {"said": "yes"} or {"said": "no"}."""

import json
import sys

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

given = json.load(sys.stdin)
try:
    Webhook(given["key"]).verify(given["body"], given["headers"])
    said = "yes"
except WebhookVerificationError:
    said = "no"
json.dump({"said": said}, sys.stdout)
