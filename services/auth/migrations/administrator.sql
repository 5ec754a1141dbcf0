-- What only the administrator of the database can do for auth: to be run there once the role and the schema `auth` exist,
-- before its migrations. Repeating it changes nothing.
--
-- The audit chain belongs to a role that nobody can log in as, so that the role of auth may add to it and nothing else.
-- That role owns the schema too, because the owner of a schema may drop whatever is in it.

DO $$
BEGIN
    IF to_regrole('auth_audit') IS NULL THEN
        CREATE ROLE auth_audit NOLOGIN;
    END IF;
END
$$;

-- Only so that it can take over what auth has made; auth is not given anything of its rights.
GRANT auth TO auth_audit;
ALTER SCHEMA auth OWNER TO auth_audit;
GRANT USAGE, CREATE ON SCHEMA auth TO auth;

-- The migrations call it as auth, with the rights of `auth_audit`. What it takes over is named here and not by the caller.
CREATE OR REPLACE FUNCTION auth.take_over_audit_events() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    ALTER FUNCTION auth.refuse_change() OWNER TO auth_audit;
    ALTER TABLE auth.audit_events OWNER TO auth_audit;
    REVOKE ALL ON auth.audit_events FROM PUBLIC, auth;
    GRANT SELECT, INSERT ON auth.audit_events TO auth;
END
$$;
ALTER FUNCTION auth.take_over_audit_events() OWNER TO auth_audit;
REVOKE ALL ON FUNCTION auth.take_over_audit_events() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION auth.take_over_audit_events() TO auth;
