"""What may differ between nhsdir and slapd in differential.py: each with its RFC section and its reason.

The comparison itself allows for these, which RFC 4511 and 4512 leave to the server:
- the spelling of DNs, and of DN values (RFC 4514 2: many spellings of one name): slapd re-writes them, nhsdir keeps them as given;
- the case of attribute options (RFC 4512 2.5.2: not significant), the order of values (RFC 4511 4.1.7: a set);
- which entries a search returns that ends with sizeLimitExceeded (RFC 4511 4.5.1.4): their number is compared;
- OIDs by name as values (RFC 4517 3.3.26 has them): slapd takes only numbers, so the generator makes only numbers;
- labeledURI and photo, whose definitions in slapd's files differ from ours in rules and syntax;
- operational attributes that name the server, its clock or the account (RFC 4512 3.4).
"""

ALLOWED = [
    ("RFC 4511 4.5.1.7.6: what `~=` finds is the server's own; nhsdir compares sounds, slapd words",
     lambda request, ours, theirs: searches(request) and "~=" in request[2]),
    ("RFC 4512 3.4.1: structuralObjectClass has objectIdentifierMatch; slapd matches superclasses with it too",
     lambda request, ours, theirs: searches(request) and "(structuralobjectclass" in request[2].lower()),
    ("RFC 4511 4.9: matchedDN where the new superior is missing: nhsdir says how far its name went, slapd leaves it out",
     lambda request, ours, theirs: request[0] == "rename" and ours[0] == theirs[0] == 32 and theirs[1] == ""),
    ("RFC 4511 4.6: a value of the RDN may not be deleted: notAllowedOnRDN, as written there; slapd says namingViolation",
     lambda request, ours, theirs: request[0] == "modify" and (ours[0], theirs[0]) == (67, 64)),
    ("RFC 4511 4.6, 4.7, 4.10: of several faults either may be said; slapd reads all values before it looks for the entry, nhsdir goes in order",
     lambda request, ours, theirs: request[0] in ("add", "modify", "compare") and (theirs[0] in (17, 18, 19, 20, 21, 64, 65) and ours[0] in (16, 18, 19, 20, 21, 32, 65, 68))),
    ("RFC 4511 4.9: a new RDN that is no name, below a superior that is not there: either fault may be said",
     lambda request, ours, theirs: request[0] == "rename" and (ours[0], theirs[0]) == (32, 34)),
    ("RFC 4511 4.1.7: the values of one modification are a set; slapd deletes a value named twice, nhsdir refuses the second",
     lambda request, ours, theirs: request[0] == "modify" and (ours[0], theirs[0]) == (16, 0) and names_one_twice(request)),
]


def names_one_twice(request):
    return any(kind == 1 and values and len(set(values)) < len(values) for kind, _, values in request[2])


def searches(request):
    return isinstance(request[1], int)


def allowed(request, ours, theirs):
    """Why the difference is allowed, or None."""
    for why, holds in ALLOWED:
        if holds(request, ours, theirs):
            return why
    return None
