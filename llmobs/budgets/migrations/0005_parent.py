"""A budget may have a parent, which counts what its children count.

So a change of what a child counts changes what all above it count: their revision grows, whoever writes the row. The
recursion ends at a row that is known, since plain SQL may write a cycle.
"""

import django.db.models.deletion
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION budget_ancestors() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE parents bigint[];
BEGIN
    parents := ARRAY[
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.parent_id END, CASE WHEN TG_OP <> 'DELETE' THEN NEW.parent_id END];
    PERFORM set_config('llmobs.moves_revision', 'on', true);
    WITH RECURSIVE above (id) AS (
        SELECT p FROM unnest(parents) AS p WHERE p IS NOT NULL
        UNION
        SELECT b.parent_id FROM budgets_budget b JOIN above ON b.id = above.id WHERE b.parent_id IS NOT NULL
    )
    UPDATE budgets_budget SET revision = revision + 1, counted_at = NULL WHERE id IN (SELECT id FROM above);
    PERFORM set_config('llmobs.moves_revision', 'off', true);
    RETURN NULL;
END $$;
CREATE TRIGGER budget_ancestors_made AFTER INSERT ON budgets_budget FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL) EXECUTE FUNCTION budget_ancestors();
CREATE TRIGGER budget_ancestors_gone AFTER DELETE ON budgets_budget FOR EACH ROW
    WHEN (OLD.parent_id IS NOT NULL) EXECUTE FUNCTION budget_ancestors();
CREATE TRIGGER budget_ancestors_changed AFTER UPDATE ON budgets_budget FOR EACH ROW
    WHEN ((NEW.scope, NEW.is_active, NEW.parent_id) IS DISTINCT FROM (OLD.scope, OLD.is_active, OLD.parent_id))
    EXECUTE FUNCTION budget_ancestors();
"""

BACKWARD = """
DROP TRIGGER budget_ancestors_changed ON budgets_budget;
DROP TRIGGER budget_ancestors_gone ON budgets_budget;
DROP TRIGGER budget_ancestors_made ON budgets_budget;
DROP FUNCTION budget_ancestors();
"""


class Migration(migrations.Migration):
    dependencies = [("budgets", "0004_revision")]
    operations = [
        migrations.AddField(
            "budget",
            "parent",
            models.ForeignKey(
                blank=True,
                help_text="counts and holds what this one does, besides what its own scope says",
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="children",
                to="budgets.budget",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
