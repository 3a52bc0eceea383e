"""Whoever changes what a budget counts, its revision grows and it is counted anew.

A trigger, because the admin, the REST API, `apply` and plain SQL all write these rows, some from an older copy: a
revision never goes back. What is counted changes with scope, window, unit, tenant and the tenant's time zone, and by
pausing: bills that come meanwhile are not added. A limit may change freely.
"""

from django.db import migrations

FORWARD = """
CREATE FUNCTION budget_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (NEW.scope, NEW."window", NEW.limit_nanousd IS NULL, NEW.tenant_id, NEW.is_active)
       IS DISTINCT FROM (OLD.scope, OLD."window", OLD.limit_nanousd IS NULL, OLD.tenant_id, OLD.is_active) THEN
        NEW.revision := OLD.revision + 1;
        NEW.counted_at := NULL;
    ELSIF current_setting('llmobs.moves_revision', true) IS DISTINCT FROM 'on' THEN
        NEW.revision := OLD.revision;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER budget_revision BEFORE UPDATE ON budgets_budget FOR EACH ROW EXECUTE FUNCTION budget_revision();

CREATE FUNCTION budget_time_zone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('llmobs.moves_revision', 'on', true);
    UPDATE budgets_budget SET revision = revision + 1, counted_at = NULL WHERE tenant_id = NEW.id;
    PERFORM set_config('llmobs.moves_revision', 'off', true);
    RETURN NULL;
END $$;
CREATE TRIGGER budget_time_zone AFTER UPDATE ON tenants_tenant FOR EACH ROW
    WHEN (OLD.time_zone IS DISTINCT FROM NEW.time_zone) EXECUTE FUNCTION budget_time_zone();
"""

BACKWARD = """
DROP TRIGGER budget_time_zone ON tenants_tenant;
DROP FUNCTION budget_time_zone();
DROP TRIGGER budget_revision ON budgets_budget;
DROP FUNCTION budget_revision();
"""


class Migration(migrations.Migration):
    dependencies = [("budgets", "0003_spend")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
