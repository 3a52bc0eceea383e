"""The rates behind each price version ever used."""

from django.db import migrations

TABLE = """
CREATE TABLE price_version (
    version text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    rates bytea NOT NULL,
    first_used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (version, provider, model)
);
COMMENT ON COLUMN price_version.rates IS 'msgpack of pricing.price.Price: nano-USD per million tokens by class, tiers';
"""


class Migration(migrations.Migration):
    dependencies = [("pricing", "0002_config_version")]
    operations = [migrations.RunSQL(TABLE, "DROP TABLE price_version")]
