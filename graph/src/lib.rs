//! Microsoft Graph as a client sees it: credentials, pacing, paging, delta, downloads, typed errors.
