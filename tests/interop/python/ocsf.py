"""Validates OCSF events against the schema of a version, class by class: what is wrong, and with how many it looked."""

import json
import sys
from functools import lru_cache

from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

given = json.load(sys.stdin)
schema = OcsfJsonSchemaEmbedded(get_ocsf_schema(given["version"]))


@lru_cache
def validator(class_uid):
    name = schema.lookup_class_name_from_uid(class_uid)
    return Draft202012Validator(schema.get_class_schema(name))


problems = []
for event in given["events"]:
    for error in validator(event["class_uid"]).iter_errors(event):
        place = "/".join(map(str, error.absolute_path))
        problems.append(f"{event['metadata']['event_code']} {place}: {error.message[:300]}")
json.dump({"checked": len(given["events"]), "problems": problems}, sys.stdout)
