"""Spans of one user or session are found by entries that they share, where each had its own with its start.

Lists of a user's traces go by `trace`; what asks spans (erasure, the brake's page) names a time besides, in which a
user has few. The index by feature and model was asked by nothing any more: lists go by days' words (`spans.words`).
"""

from django.db import migrations

FORWARD = """
DROP INDEX span_by_feature;
DROP INDEX span_by_user;
DROP INDEX span_by_session;
CREATE INDEX span_by_user ON span (tenant_id, user_id) WHERE user_id <> '';
CREATE INDEX span_by_session ON span (tenant_id, session_id) WHERE session_id <> '';
"""

BACKWARD = """
DROP INDEX span_by_user;
DROP INDEX span_by_session;
CREATE INDEX span_by_feature ON span (tenant_id, feature, request_model, start DESC) WHERE is_call;
CREATE INDEX span_by_user ON span (tenant_id, user_id, start DESC) WHERE user_id <> '';
CREATE INDEX span_by_session ON span (tenant_id, session_id, start DESC) WHERE session_id <> '';
"""


class Migration(migrations.Migration):
    dependencies = [("spans", "0012_details")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
