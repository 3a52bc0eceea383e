"""What spans are found by: `span_words`, which days that are over are indexed by, and `spans_found`, which asks them.

`spans_found` belongs to the owner of the tables: a policy of row-level security would keep PostgreSQL from using the
index, so the tenants are named in its arguments instead.
"""

from django.db import migrations

# Signs become spaces: PostgreSQL would take "/ask" for a file and keep "gpt-4o" in three forms.
SIGNS = "/_-.:@=+\\|#&?<>%~"
SPACED = f"translate({{}}, '{SIGNS}', '{' ' * len(SIGNS)}')"
TEXT = f"""
CREATE FUNCTION span_text(text text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT {SPACED.format("text")}
$$
"""

# An index is made with no schema of ours in sight: nothing in here is named that is not PostgreSQL's own.
WORDS = f"""
CREATE FUNCTION span_words(tenant_id bigint, service text, environment text, feature text, key_id bigint,
    provider_name text, request_model text, response_model text, status text, error_type text, name text, preview text)
RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 500 AS $$
    SELECT strip(to_tsvector('simple', {SPACED.format("name || ' ' || preview")})) || array_to_tsvector(ARRAY[
        '=t:' || tenant_id::text, '=s:' || left(service, 200), '=n:' || left(environment, 200),
        '=f:' || left(feature, 200), '=k:' || key_id::text, '=p:' || left(provider_name, 200),
        '=m:' || left(request_model, 200), '=m:' || left(response_model, 200), '=o:' || status,
        '=e:' || left(error_type, 200)])
$$
"""

# plpgsql: the table of a day is named literally, so that no plan is made over all days.
FOUND = """
CREATE FUNCTION spans_found(whose bigint[], asked tsquery, since timestamptz, until timestamptz, most int)
RETURNS TABLE (found_tenant bigint, found_trace bytea, found_start timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    day date := ((until - interval '1 microsecond') AT TIME ZONE 'UTC')::date;
    enough int := most;
    got int;
BEGIN
    WHILE enough > 0 AND day >= (since AT TIME ZONE 'UTC')::date LOOP
        IF EXISTS (SELECT 1 FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
                   WHERE c.relname = 'span_' || to_char(day, 'YYYYMMDD') || '_words' AND i.indisvalid) THEN
            RETURN QUERY EXECUTE format(
                'SELECT tenant_id, trace_id, max(start) FROM %I WHERE tenant_id = ANY($1) AND start >= $2 '
                'AND start < $3 AND span_words(tenant_id, service, environment, feature, key_id, provider_name, '
                'request_model, response_model, status, error_type, name, preview) @@ $4 '
                'GROUP BY 1, 2 ORDER BY 3 DESC LIMIT $5', 'span_' || to_char(day, 'YYYYMMDD'))
                USING whose, since, until, asked, enough;
            GET DIAGNOSTICS got = ROW_COUNT;
            enough := enough - got;
        END IF;
        day := day - 1;
    END LOOP;
END
$$
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0007_adapter")]
    operations = [
        migrations.RunSQL(TEXT, "DROP FUNCTION span_text CASCADE"),
        migrations.RunSQL(WORDS, "DROP FUNCTION span_words CASCADE"),
        migrations.RunSQL(FOUND, "DROP FUNCTION spans_found"),
    ]
