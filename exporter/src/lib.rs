//! Tenant to tar: inventory, ordered bounded fetch, spool, writer.
