"""A version of a prompt is never changed, whoever tries: spans and cached answers name it by its number."""

from django.db import migrations

REFUSE = """
CREATE FUNCTION refuse_change_of_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a version of a prompt is never changed; write the next one' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER prompts_promptversion_immutable BEFORE UPDATE ON prompts_promptversion
    FOR EACH ROW EXECUTE FUNCTION refuse_change_of_version();
"""
ALLOW = """
DROP TRIGGER prompts_promptversion_immutable ON prompts_promptversion;
DROP FUNCTION refuse_change_of_version();
"""


class Migration(migrations.Migration):
    dependencies = [("prompts", "0002_config_version")]
    operations = [migrations.RunSQL(REFUSE, ALLOW)]
