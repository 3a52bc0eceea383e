"""A claim keeps what is compared: tokens in all, and of long names and ids 64 bits of their MD5."""

from django.db import migrations

SHORT = "CASE WHEN length({0}) > 12 THEN encode(decode(left(md5({0}), 16), 'hex'), 'base64') ELSE {0} END"

FORWARD = f"""
ALTER TABLE claim ADD COLUMN input_tokens bigint, ADD COLUMN output_tokens bigint;
UPDATE claim SET input_tokens = usage[1] + usage[2] + usage[3] + usage[4], output_tokens = usage[5],
    scope_name = {SHORT.format("scope_name")}, response_id = {SHORT.format("response_id")};
ALTER TABLE claim DROP COLUMN usage;
COMMENT ON COLUMN claim.input_tokens IS 'cached tokens included; null: unknown';
COMMENT ON COLUMN claim.response_id IS 'as it is up to 12 characters, else 64 bits of its MD5 in base64, as scope_name';
"""  # noqa: S608

# Names and ids stay short: a report of the same call that comes after the way back is not known by its id.
BACKWARD = """
ALTER TABLE claim ADD COLUMN usage bigint[];
UPDATE claim SET usage = ARRAY[input_tokens, 0, 0, 0, output_tokens, 0] WHERE input_tokens IS NOT NULL;
ALTER TABLE claim DROP COLUMN input_tokens, DROP COLUMN output_tokens;
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0008_span_words")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
