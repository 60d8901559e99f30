<?php
// PHP's ldap extension (libldap) against nhsdir. Environment: see run.
[$url, $base, $dn, $secret] = array_map('getenv', ['URL', 'BASE', 'DN', 'SECRET']);
[$writer, $writerSecret, $people] = array_map('getenv', ['WRITER', 'WRITER_SECRET', 'PEOPLE']);
ldap_set_option(null, LDAP_OPT_X_TLS_CACERTFILE, getenv('CA'));
ldap_set_option(null, LDAP_OPT_X_TLS_REQUIRE_CERT, LDAP_OPT_X_TLS_DEMAND);

function check(bool $holds, string $what): void
{
    if (!$holds) {
        fwrite(STDERR, "$what\n");
        exit(1);
    }
}

function connection()
{
    $ldap = ldap_connect(getenv('URL'));
    ldap_set_option($ldap, LDAP_OPT_PROTOCOL_VERSION, 3);
    ldap_set_option($ldap, LDAP_OPT_REFERRALS, 0);
    return $ldap;
}

// Anonymous and wrong secrets.
$ldap = connection();
check(!@ldap_bind($ldap), 'an anonymous bind was accepted');
check(ldap_errno($ldap) === 48, 'anonymous: ' . ldap_error($ldap));
check(@ldap_search($ldap, $base, '(uid=*)') === false, 'an anonymous search was answered');
check(!@ldap_bind($ldap, $dn, 'wrong-secret-wrong-secret') && ldap_errno($ldap) === 49, 'wrong: ' . ldap_error($ldap));
check(@ldap_bind($ldap, $dn, $secret), 'bind: ' . ldap_error($ldap));
check(strcasecmp(ldap_exop_whoami($ldap), "dn:$dn") === 0, 'who am I');

// Root DSE and schema.
$root = ldap_get_entries($ldap, ldap_read($ldap, '', '(objectClass=*)', ['*', '+']));
check(in_array($base, $root[0]['namingcontexts'], true), 'namingContexts');
check(in_array(LDAP_CONTROL_PAGEDRESULTS, $root[0]['supportedcontrol'], true), 'supportedControl');
$where = $root[0]['subschemasubentry'][0];
$schema = ldap_get_entries($ldap, ldap_read($ldap, $where, '(objectClass=subschema)', ['attributeTypes', 'objectClasses']));
check((bool) preg_grep("/NAME 'nhsIDCode'/", $schema[0]['attributetypes']), 'nhsIDCode is not in the schema');

// Pages.
[$total, $cookie] = [0, ''];
do {
    $page = [['oid' => LDAP_CONTROL_PAGEDRESULTS, 'iscritical' => true, 'value' => ['size' => 250, 'cookie' => $cookie]]];
    $found = ldap_search($ldap, "ou=People,$base", '(objectClass=nhsPerson)', ['cn'], 0, 0, 0, LDAP_DEREF_NEVER, $page);
    ldap_parse_result($ldap, $found, $code, $matched, $message, $referrals, $answers);
    check($code === 0, "page: $code $message");
    check(isset($answers[LDAP_CONTROL_PAGEDRESULTS]), 'the paging response control is missing');
    $total += ldap_count_entries($ldap, $found);
    $cookie = $answers[LDAP_CONTROL_PAGEDRESULTS]['value']['cookie'] ?? '';
} while ($cookie !== '');
check($total === (int) $people, "expected $people people, found $total");

// Order.
$order = [['oid' => LDAP_CONTROL_SORTREQUEST, 'iscritical' => true, 'value' => [['attr' => 'sn'], ['attr' => 'givenName', 'reverse' => true]]]];
$found = ldap_search($ldap, "ou=People,$base", '(&(objectClass=nhsPerson)(sn=b*))', ['sn'], 0, 1000, 0, LDAP_DEREF_NEVER, $order);
ldap_parse_result($ldap, $found, $code, $matched, $message, $referrals, $answers);
check(isset($answers[LDAP_CONTROL_SORTRESPONSE]), 'the sort response control is missing');
$names = array_map(fn ($entry) => strtolower($entry['sn'][0]), array_filter(ldap_get_entries($ldap, $found), 'is_array'));
$sorted = $names;
sort($sorted, SORT_STRING);
check(count($names) > 5 && $names === $sorted, 'the entries are not sorted by sn');

// Changes, by a feed's account.
$feed = connection();
check(ldap_bind($feed, $writer, $writerSecret), 'bind of the writer: ' . ldap_error($feed));
$entry = "cn=PHP list,ou=Lists,$base";
check(ldap_add($feed, $entry, ['objectClass' => ['top', 'groupOfNames'], 'cn' => 'PHP list', 'member' => [$base]]), 'add: ' . ldap_error($feed));
check(!@ldap_add($feed, $entry, ['objectClass' => 'groupOfNames', 'cn' => 'PHP list', 'member' => $base]) && ldap_errno($feed) === 68, 'added twice');
check(ldap_mod_add($feed, $entry, ['description' => ['one', 'héllo']]), 'modify add: ' . ldap_error($feed));
check(ldap_mod_replace($feed, $entry, ['description' => ['two']]), 'modify replace: ' . ldap_error($feed));
check(ldap_modify_batch($feed, $entry, [['attrib' => 'description', 'modtype' => LDAP_MODIFY_BATCH_REMOVE, 'values' => ['TWO']]]), 'modify batch: ' . ldap_error($feed));
check(ldap_compare($feed, $entry, 'cn', 'php  LIST') === true, 'compare true');
check(ldap_compare($feed, $entry, 'cn', 'another') === false, 'compare false');
check(@ldap_compare($feed, $entry, 'description', 'two') === -1 && ldap_errno($feed) === 16, 'compare without the attribute');
check(ldap_rename($feed, $entry, 'cn=PHP list renamed', "ou=Workgroups,$base", true), 'rename: ' . ldap_error($feed));
$moved = "cn=PHP list renamed,ou=Workgroups,$base";
$read = ldap_get_entries($feed, ldap_read($feed, $moved, '(objectClass=*)', ['cn', 'entryUUID']));
check($read[0]['cn']['count'] === 1 && strlen($read[0]['entryuuid'][0]) === 36, 'the entry after its rename');
check(ldap_delete($feed, $moved), 'delete: ' . ldap_error($feed));
check(@ldap_read($feed, $moved, '(objectClass=*)') === false && ldap_errno($feed) === 32, 'deleted, and still there');
check(ldap_unbind($feed) && ldap_unbind($ldap), 'unbind');
echo "ok\n";
