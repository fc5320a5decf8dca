-- Once, as a superuser: psql -v ON_ERROR_STOP=1 -f deploy/k8s/database.sql. May be repeated. No password is set here: use \password.
--
--   sushu_owner          makes schemas and runs migrations (key `owner` of Secret sushu-database)
--   sushu_<service>      owns the schema of a service; nobody logs in as it
--   sushu_<service>_app  the login of a service (key `<service>`), a member of that one role alone
SELECT 'CREATE ROLE sushu_owner LOGIN CREATEROLE' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'sushu_owner') \gexec
SELECT 'CREATE DATABASE sushu OWNER sushu_owner' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'sushu') \gexec
REVOKE ALL ON DATABASE sushu FROM PUBLIC;

SELECT format(statement, name)
FROM unnest(ARRAY['intake', 'classify', 'dispatch', 'sla', 'feedback', 'evaluate', 'journal']) AS name,
     unnest(ARRAY[
       'DO $$ BEGIN CREATE ROLE sushu_%1$s NOLOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$',
       'DO $$ BEGIN CREATE ROLE sushu_%1$s_app LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$',
       'GRANT sushu_%1$s TO sushu_%1$s_app',
       'GRANT sushu_%1$s TO sushu_owner WITH ADMIN OPTION',
       'GRANT CONNECT ON DATABASE sushu TO sushu_%1$s_app'
     ]) WITH ORDINALITY AS step (statement, position)
ORDER BY position, name \gexec
