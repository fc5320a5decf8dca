"""What the streams said about a case is one row, with its JSON as readers see it: instants in the platform's zone.

Before, each stream had a table of its own; a look at a case joined six, and each event wrote two or three rows.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = r"""
CREATE FUNCTION zoned(object jsonb, names text[]) RETURNS jsonb LANGUAGE sql AS $$
  SELECT object || coalesce(jsonb_object_agg(name,
    replace(to_char((object->>name)::timestamptz AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD"T"HH24\:MI\:SS.US'),
      '.000000', '') || '+08:00'), '{}')
  FROM unnest(names) AS n(name) WHERE object->>name IS NOT NULL $$;
CREATE FUNCTION list_of(items jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT coalesce(items, '[]') $$;
CREATE TABLE case_views (
  appeal_id uuid PRIMARY KEY, streams text NOT NULL, order_ids uuid[] NOT NULL, label text, feedback text)
  PARTITION BY RANGE (appeal_id);
INSERT INTO case_views SELECT c.appeal_id, jsonb_strip_nulls(jsonb_build_object(
  'status', c.own_status, 'region_code', a.snapshot->'place'->>'region_code',
  'label', CASE WHEN l.appeal_id IS NOT NULL THEN jsonb_build_object('sequence', l.sequence, 'matter', l.matter,
    'region_code', l.region_code, 'kind', l.label->>'kind', 'tags', l.tags, 'needs_review', l.needs_review,
    'matter_name', l.label->'matter'->'path'->>-1, 'likenesses', list_of((
      SELECT jsonb_agg(jsonb_build_array(s.relation, s.likeness->>'appeal_id', s.likeness->'score') ORDER BY s.relation)
      FROM (VALUES ('repeat', l.label->'repeat_of'), ('same_event', l.label->'same_event')) AS s(relation, likeness)
      WHERE s.likeness->>'appeal_id' IS NOT NULL))) END,
  'feedback', CASE WHEN f.appeal_id IS NOT NULL THEN jsonb_build_object('sequence', f.sequence,
    'work_order_id', f.feedback->>'work_order_id', 'status', f.status, 'method', f.method, 'round', f.round,
    'answered', EXISTS (SELECT 1 FROM jsonb_array_elements(f.feedback->'answers') AS x
      WHERE (x->>'round')::int = f.round)) END,
  'orders', (SELECT jsonb_object_agg(o.work_order_id, jsonb_build_object('id', o.work_order_id, 'sequence', o.sequence,
      'status', o.status, 'lead', o.lead, 'lead_name', o.lead_name, 'version', o.version, 'opened_at', o.opened_at,
      'appeal_ids', o.appeal_ids, 'co_handlers', o.co_handlers, 'in_review', o.in_review,
      'is_part', o.parent_id IS NOT NULL, 'result', o.result, 'handoff', o.handoff))
    FROM order_appeals oa JOIN case_orders o USING (work_order_id) WHERE oa.appeal_id = c.appeal_id)))::text,
  ARRAY(SELECT o.work_order_id FROM order_appeals oa JOIN case_orders o USING (work_order_id)
    WHERE oa.appeal_id = c.appeal_id AND c.appeal_id = ANY(o.appeal_ids) ORDER BY o.opened_at, o.work_order_id),
  l.label::text,
  (zoned(f.feedback, '{opened_at,expires_at,closed_at}') || jsonb_build_object('answers', list_of((
    SELECT jsonb_agg(zoned(x, '{at}') ORDER BY n)
    FROM jsonb_array_elements(f.feedback->'answers') WITH ORDINALITY AS y(x, n)))))::text
FROM cases c JOIN appeals a USING (appeal_id) LEFT JOIN case_labels l USING (appeal_id)
LEFT JOIN case_feedback f USING (appeal_id);
ALTER TABLE case_clocks ADD COLUMN shown text;
UPDATE case_clocks k SET shown = coalesce((
  SELECT string_agg((jsonb_build_object('work_order_id', k.work_order_id)
    || zoned(x, '{started_at,due_at,yellow_at,stopped_at}'))::text, ',' ORDER BY n)
  FROM jsonb_array_elements(k.clocks) WITH ORDINALITY AS y(x, n)), '');
ALTER TABLE case_clocks DROP COLUMN clocks;
ALTER TABLE case_clocks RENAME COLUMN shown TO clocks;
ALTER TABLE case_clocks ALTER COLUMN clocks SET NOT NULL;
DROP TABLE case_labels, case_orders, order_appeals, case_feedback;
ALTER TABLE cases DROP COLUMN own_status;
DROP FUNCTION zoned(jsonb, text[]);
DROP FUNCTION list_of(jsonb);
"""


def upgrade() -> None:
    for number, statement in enumerate(STATEMENTS.split(";\n")):
        if statement.strip():
            op.execute(statement)
        if number == 2:
            # rows are moved to their months by `partitions.make`, as far as these are made already
            op.execute("CREATE TABLE case_views_other PARTITION OF case_views DEFAULT")
            op.execute(_MONTHS)


_MONTHS = """
DO $$ DECLARE month record; BEGIN
  FOR month IN SELECT replace(c.relname, 'cases_', 'case_views_') AS name, pg_get_expr(c.relpartbound, c.oid) AS bound
    FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'cases'::regclass AND c.relname <> 'cases_other'
  LOOP EXECUTE format('CREATE TABLE %I PARTITION OF case_views %s', month.name, month.bound); END LOOP;
END $$"""


def downgrade() -> None:
    raise NotImplementedError("forward only: go back with a backup")
