//! Who is on the line? Sockets and TLS; knows no LDAP.
