"""What syntaxes.py asks about: attribute types of every syntax and rule that both servers have, and tricky values of each.

What is the same to one rule and not to another, what is nearly a value, and what is at an edge.
"""

import base64

ARC = "1.3.6.1.4.1.1466.115.121.1."

TEXT = ["a", "A", "b", "ab", "AB", "a b", "a  b", "A B", " a b", "a b ", " a  b ", " ", "  ", "", "\u00e9", "\u00c9", "e\u0301", "E\u0301", "\u00df", "ss", "SS",
        "\u1e9e", "\ufb01", "fi", "\u017f", "s", "\u03c2", "\u03c3", "\u03a3", "\u0130", "i\u0307", "\u0131", "i", "I", "\u212a", "k", "\u212b", "\u00e5", "\u00ad", "a\u00adb", "a\u200bb",
        "a\u00a0b", "a\u3000b", "a\tb", "a\nb", "a\x00b", "\x00", "\x7f", "a\x85b", "\ue000", "\ufffd", "\uffff", "\U000e0001x", "\u0378", "\u0221", "\u2167", "viii", "1",
        "\uff21", "\u0301", " \u0301a", "a \u0301", "\u65e5\u672c", "\U00010400", "\U00010428", "\u10d0", "\u0149", "\u01c6", "\u01c4", "\u01c5", "\u1fb3", "\u1fbc",
        b"\xff", b"a\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", "$", "\\", "\\20", "*", "(", "a$b", "a*b", "\u2019", "'", "x" * 300, "a-b", "-", "\u2010", "\ufeffa"]
IA5 = ["a@b", "A@B", "a@b ", " a@b", "a  @b", "a @b", "", " ", "  ", "\u00e9@b", b"\xff", "a\x00b", "a\tb", "a\x7fb", "\x01", "ab", "a-b", "~", "a\\b", "a*b", "(a)", "x" * 300]
INTEGERS = ["0", "-0", "00", "1", "01", "-1", "-01", "+1", "--1", "-", " 1", "1 ", "1.0", "0x1", "2", "9", "10", "100", "127", "128", "-128", "-129", "255", "256", "-256", "2147483647", "2147483648", "-2147483649",
            "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551616", str(10 ** 40), str(-10 ** 40), str(10 ** 40 + 1), "9" * 300, "\u0661", "", "1\n"]
BITS = ["''B", "'0'B", "'1'B", "'00'B", "'01'B", "'10'B", "'010'B", "'0100'B", "'101'B", "'1'b", "'2'B", "1", "'1", "1'B", "'1'", "'B", "''", "' 1'B", "'1 'B", "'1'B ", "'" + "01" * 200 + "'B"]
BOOLEANS = ["TRUE", "FALSE", "true", "True", " TRUE", "TRUE ", "T", "0", "1", "yes"]
TIMES = ["20240101000000Z", "20240101000000.0Z", "20240101000000.5Z", "20240101000000,5Z", "20240101000000.50Z", "20240101000000.05Z", "20240101000000.Z", "20240101000000", "202401010000Z", "2024010100Z", "2024010100.5Z",
         "202401010000.5Z", "2024010100.25Z", "202401010030Z", "20240101003000Z", "20240101010000+0100", "20240101010000+01", "20240101000000+0000", "20240101000000-0000", "20231231230000-0100", "20240101000000-2400", "20240101000000+2359", "20240101000000+0060", "20240101240000Z",
         "20240101235959Z", "20231231235960Z", "20240101005960Z", "20231231235961Z", "20240230000000Z", "20240229000000Z", "20230229000000Z", "19000229000000Z", "20000229000000Z", "00000101000000Z", "99991231235959Z", "99991231235959-0100", "00000101000000+0100", "20241301000000Z",
         "20240001000000Z", "20240132000000Z", "20240101006000Z", "240101000000Z", "20240101Z", "202401010", "20240101000000z", "20240101 000000Z", "20240101000000Z ", " 20240101000000Z", "20240101000000.123456789Z", "20240101000000.5+0100", "20240101013000+0130", "20240101000000+1", ""]
NUMERIC = ["1", "12", "1 2", "1  2", " 12", "12 ", "012", "0", "00", " ", "  ", "", "1a", "-1", "1-2", "123456789012345678901234567890", "2", "10", "9", "1\t2", "\u0661"]
PHONES = ["+44 20 7946 0000", "+442079460000", "+44-20-7946-0000", "0207946", "020 7946", "1", "-", " ", "- -", "", "(020) 7946", "ext 5", "EXT 5", "\u00e9", "1\u20102", "12", "1_2", "1*2", "#1", "1/2", "1$2", "1\t2"]
PRINTABLE = ["a", "A", "a b", "a  b", " a", "a ", " ", "", "'()+,-./:=? ", "a@b", "a*b", "a_b", "a\"b", "\u00e9", "a\x00", "a\tb", "Zz9", "zZ9", "a$b"]
COUNTRY = ["GB", "gb", "Gb", "FR", "G", "GBR", "", "  ", "G ", " G", "1A", "\u00e9", "G_", "??"]
DNS = ["", "dc=test", "DC=TEST", "cn=a,dc=test", "CN=A,DC=test", "cn = a , dc = test", "cn=a;dc=test", "2.5.4.3=a,dc=test", "OID.2.5.4.3=a,dc=test", "commonName=a,dc=test", "cn=\"a\",dc=test", "cn=\\61,dc=test", "cn=#040161,dc=test", "cn=#,dc=test", "cn=#zz,dc=test", "cn=a\\,b,dc=test", "cn=a\\2Cb,dc=test",
       "cn=\"a,b\",dc=test", "cn=a\\+b,dc=test", "cn=a+sn=b,dc=test", "sn=B + cn=A,dc=test", "cn=a+cn=b,dc=test", "cn=a+cn=a,dc=test", "cn=a b,dc=test", "cn=a  b,dc=test", "cn=\\ a,dc=test", "cn=a\\ ,dc=test", "cn=,dc=test", "cn=\\ ,dc=test", "cn=\\00,dc=test", "cn=\u00e9,dc=test", "cn=e\u0301,dc=test",
       "cn=\\c3\\a9,dc=test", "cn=\\ff,dc=test", "cn=\u00df,dc=test", "cn=ss,dc=test", "nosuch=a,dc=test", "1.2.3.4=a,dc=test", "1.2.3.4=#040161,dc=test", "cn", "cn=a,,dc=test", ",dc=test", "cn=a,", "=a", "cn=a=b,dc=test", "cn=a\\=b,dc=test", "cn=a<b,dc=test", "cn=a\\<b,dc=test", "cn=a\"b,dc=test", "cn=a\\",
       "cn=a\\zb,dc=test", "cn=a#b,dc=test", "cn=\\#a,dc=test", "c=GB,dc=test", "c=gb,dc=test", "c=GBR,dc=test", "mail=a@b,dc=test", "mail=\u00e9@b,dc=test", "telephoneNumber=1 2,dc=test", "telephoneNumber=12,dc=test", "member=cn\\=a\\,dc\\=test,dc=test", "member=\"CN=A,dc=test\",dc=test", "member=junk,dc=test",
       "cn;lang-en=a,dc=test", "c_n=a,dc=test", " cn=a,dc=test", "cn=a,dc=test ", "dc=test,cn=a", "postalAddress=A$B,dc=test", "postalAddress=a$b,dc=test", "cn=*,dc=test", b"cn=\xff,dc=test"]
NAMEUID = ["dc=test", "dc=test#'01'B", "DC=TEST#'01'B", "dc=test#'1'B", "dc=test#''B", "dc=test#'01'b", "dc=test#01", "dc=test#", "dc=test#'2'B", "#'01'B", "'01'B", "", "CN=A;dc=test#'0101'B", "cn=a,dc=test#'0101'B", "cn=a\\#'1'B,dc=test", "cn=a#'1'B", "nosuch=a,dc=test", "junk", "dc=test #'01'B", "dc=test# '01'B",
           "dc=test#'01'B ", "cn=a+sn=b,dc=test#'1'B", "sn=b+cn=a,dc=test#'1'B"]
OIDS = ["2.5.4.3", "2.5.4.03", "2.5.4", "2", "2.", ".2", "2..5", "2.5.4.3 ", " 2.5.4.3", "cn", "CN", "commonName", "2.5.6.6", "person", "top", "nosuch", "a_b", "-a", "1a", "1.2.3.4", "2.999.1", "0.0", "", "a b", "cn;lang-en"]
UUIDS = ["12345678-1234-1234-1234-123456789abc", "12345678-1234-1234-1234-123456789ABC", "12345678123412341234123456789abc", "{12345678-1234-1234-1234-123456789abc}", "12345678-1234-1234-1234-123456789ab", "1234567-81234-1234-1234-123456789abc", "12345678-1234-1234-1234-123456789abg",
         "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "12345678-1234-1234-1234-123456789abc ", "", b"\x00" * 16]
CSNS = ["20240101000000.000000Z#000000#000#000000", "20240101000000.000000Z#00000a#00a#000001", "20240101000000.000001Z#000000#000#000000", "20230101000000.000000Z#ffffff#fff#ffffff", "20240101000000.5Z#000000#000#000000", "20240101000000.000000Z", "", "x"]
POSTAL = ["a", "A", "a$b", "A$B", "a$$b", "$", "a$", "$a", "", " ", " a $ b ", "a  b$c", "a b$c", "a\\24b", "a\\5cb", "a\\5Cb", "a\\b", "a\\", "a\\41b", "aAb", "\u00e9$x", "\u00c9$X", b"\xff$a", "a$b$c$d$e$f$g$h", "x" * 40, "a\u00adb$c", "ab$c"]
DELIVERY = ["any", "ANY", "any$mhs", "any $ mhs", "physical", "telex$teletex$g3fax$g4fax$ia5$videotex$telephone", "", "$", "any$", "$any", "post", "any mhs", "any$any", " any", "any "]
FAX = ["+44 1", "1$twoDimensional", "1$fineResolution$unlimitedLength", "1$nosuch", "$twoDimensional", "", "1$", "a_b", "\u00e9", "$", "1$$b3Width"]
TELEX = ["1$gb$a", "1$gb", "1", "a$b$c$d", "$$", "", "\u00e9$a$b", "a_b$c$d"]
MAILBOX = ["mhs$a", "MHS$A", "mhs $ a", "mhs", "$a", "a$", "", "\u00e9$a", "a$b$c", "a_b$c"]
SUBTREES = ["{}", "{ }", "{ base \"dc=test\" }", "{ minimum 1, maximum 3 }", "{ specificationFilter item:person }", "{ specificExclusions { chopBefore:\"cn=a\" } }", "", "junk", "{", "{ minimum x }", b"\xff"]
OCTETS = [b"", b"\x00", b"\x00\x00", b"\x00\x01", b"\x01", b"\xff", b"a", b"A", b" ", b"a ", b"ab", b"abc", b"b", b"a*b", b"\x80", bytes(range(256)), b"\x00" * 41, b"a\x00b", b"x" * 5000]
BER = [b"\x30\x00", b"\x30\x03\x02\x01\x05", b"\x30\x02\x02", b"\x30", b"\x31\x00", b"\x30\x80\x00\x00", b"\x30\x00\x00", b"", b"\x04\x01a", b"junk", b"\x30\x03\x02\x01\x06"]
# Self-signed: serial number 0x00a1b2c3d4e5f60718293a4b of `cn=Test  Issuer,o=NHS England,c=GB`; number 5 of `cn=J\u00f6rg,ou=B+o=A,dc=test`; a list of the first.
CERTIFICATE, SECOND, LIST = map(base64.b64decode, (
    "MIIBwTCCAWegAwIBAgIMAKGyw9Tl9gcYKTpLMAoGCCqGSM49BAMCMDoxCzAJBgNVBAYTAkdCMRQwEgYDVQQKDAtOSFMgRW5nbGFuZDEVMBMGA1UEAwwMVGVzdCAgSXNzdWVyMB4XDTI2MTEyNjAwMTIxMloXDTM2MTEyMzAwMTIxMlowOjELMAkGA1UEBhMCR0IxFDASBgNVBAoMC05IUyBFbmdsYW5kMRUwEwYDVQQDDAxUZXN0ICBJc3N1ZXIwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ3YLmL3VSqkEY8d/YmV5F2EcTCB1HD+9aPp1GB8gOZ6Q9LppRiOXVlS7+vpvqTw/Y28mJ8fVJchY0DDfdSE7+Ho1MwUTAdBgNVHQ4EFgQUOltqhqLWc7tWK0BSXSNXPW0rKdowHwYDVR0jBBgwFoAUOltqhqLWc7tWK0BSXSNXPW0rKdowDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEA1fblmgBUtMI+/Jg5uM+bbcb5+FU6KsoqkPGcnOoAV6ECIB8twR6fVLaE2S7GvkTsMdN183WsCUjnZG/qloNZu2lo",
    "MIIBujCCAWCgAwIBAgIBBTAKBggqhkjOPQQDAjA8MRQwEgYKCZImiZPyLGQBGRYEdGVzdDEUMAgGA1UECgwBQTAIBgNVBAsMAUIxDjAMBgNVBAMMBUrDtnJnMB4XDTI2MTEyNjAwMTIxMloXDTM2MTEyMzAwMTIxMlowPDEUMBIGCgmSJomT8ixkARkWBHRlc3QxFDAIBgNVBAoMAUEwCAYDVQQLDAFCMQ4wDAYDVQQDDAVKw7ZyZzBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMGO9RZjRRPadPdYbXAFB/KHyHMeukq+rLe6aZW8GcHlDjjPSTKOHMZXEIDy6/zh4JObtTy7BQC3NMDsEuluww2jUzBRMB0GA1UdDgQWBBS/qy5Uaegu4JJ6yInxOQObwaGR2DAfBgNVHSMEGDAWgBS/qy5Uaegu4JJ6yInxOQObwaGR2DAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCp2l8qJWzKUYjLpAgoWGTSGb80rdCb7xUPMtnvySXcFwIgAsgCQW+M2V+pAQwCgmJxgSVZTM6/ywL7d7au5263EW0=",
    "MIHQMHkCAQEwCgYIKoZIzj0EAwIwOjELMAkGA1UEBhMCR0IxFDASBgNVBAoMC05IUyBFbmdsYW5kMRUwEwYDVQQDDAxUZXN0ICBJc3N1ZXIXDTI2MTEyNjAwMTIxMloXDTI2MTIyNjAwMTIxMlqgDjAMMAoGA1UdFAQDAgEBMAoGCCqGSM49BAMCA0cAMEQCIFgy8M4sjCbqYOZGyD2BiGnv1D2Ynond3TtVKPQ58My9AiAJoUw/Owpl+6cAhON5wS04R5Slm6EJgNAWT83Hos6tKw=="))
ISSUERS = ["cn=J\u00f6rg,o=A+ou=B,dc=test", "CN=J\u00d6RG,OU=b+O=a,DC=TEST", "cn=Test Issuer,o=NHS England,c=GB", "cn=a", "junk", ""]
NUMBERS = ["5", "05", "0", "-5", "195481250647938683376319051", "'05'H", "'00A1b2c3d4e5f60718293a4b'H"]
TIMES_OF_LISTS = ["utcTime:\"261126001212Z\"", "generalizedTime:\"20261126001212Z\"", "utcTime:\"261126001213Z\"", "junk"]
CERTIFICATES = [CERTIFICATE, SECOND, CERTIFICATE[:-1], CERTIFICATE + b"x", LIST] + ["{ serialNumber %s, issuer rdnSequence:\"%s\" }" % (number, issuer) for number in NUMBERS for issuer in ISSUERS] \
    + ["%s$%s" % (number, issuer) for number in NUMBERS[:5] for issuer in ISSUERS] + ["{issuer rdnSequence:\"cn=Test Issuer,o=NHS England,c=GB\",serialNumber 195481250647938683376319051}", "5 $ cn=J\u00f6rg,o=A+ou=B,dc=test", "{ serialNumber 5 }"]
LISTS = [LIST, LIST[:-1], LIST + b"x", CERTIFICATE] + ["{ issuer rdnSequence:\"%s\", thisUpdate %s }" % (issuer, time) for issuer in ISSUERS[2:5] for time in TIMES_OF_LISTS] + ["{ issuer rdnSequence:\"cn=a\" }"]
NETGROUPS = ["(host,user,domain)", "(,,)", "(-,-,)", "( host , user , domain )", "(a,b)", "(a,b,c", "a,b,c", "()", ""]
BOOTS = ["root=fs:/nfs", "root=fs:", "root=:x", "=fs:x", "root=fs", "a=b:c:d", "key = s : p", ""]
# Tried of every syntax.
ANYTHING = ["", " ", "a", "1", "01", "TRUE", b"\xff", "\u00e9", "a b", "cn=a", "2.5.4.3", "'1'B", "20240101000000Z", "$", b"\x00", "GB", "a@b"]

# Syntax, values, and for each attribute type its EQUALITY, ORDERING and SUBSTR rule.
SYNTAXES = [
    ("4", OCTETS, [""]), ("5", OCTETS, [""]), ("28", OCTETS, [""]), ("40", OCTETS, ["", "octetStringMatch octetStringOrderingMatch octetStringSubstringsMatch"]),
    ("6", BITS, ["", "bitStringMatch"]), ("7", BOOLEANS, ["", "booleanMatch"]), ("10", BER, [""]), ("49", BER, [""]),
    ("8", CERTIFICATES + BER, ["", "certificateExactMatch"]), ("9", LISTS + BER, ["", "certificateListExactMatch"]),
    ("11", COUNTRY, ["", "caseIgnoreMatch caseIgnoreOrderingMatch caseIgnoreSubstringsMatch", "caseExactMatch caseExactOrderingMatch caseExactSubstringsMatch"]),
    ("12", DNS, ["", "distinguishedNameMatch"]), ("14", DELIVERY, [""]), ("22", FAX, [""]), ("52", TELEX, [""]), ("39", MAILBOX, [""]), ("45", SUBTREES, [""]),
    ("15", TEXT, ["", "caseIgnoreMatch caseIgnoreOrderingMatch caseIgnoreSubstringsMatch", "caseExactMatch caseExactOrderingMatch caseExactSubstringsMatch"]),
    ("24", TIMES, ["", "generalizedTimeMatch generalizedTimeOrderingMatch"]), ("26", IA5, ["", "caseIgnoreIA5Match - caseIgnoreIA5SubstringsMatch", "caseExactIA5Match - caseExactIA5SubstringsMatch"]),
    ("27", INTEGERS, ["", "integerMatch integerOrderingMatch"]), ("34", NAMEUID, ["", "uniqueMemberMatch"]), ("36", NUMERIC, ["", "numericStringMatch numericStringOrderingMatch numericStringSubstringsMatch"]),
    ("38", OIDS, ["", "objectIdentifierMatch"]), ("41", POSTAL, ["", "caseIgnoreListMatch - caseIgnoreListSubstringsMatch"]),
    ("44", PRINTABLE, ["", "caseIgnoreMatch caseIgnoreOrderingMatch caseIgnoreSubstringsMatch", "caseExactMatch caseExactOrderingMatch caseExactSubstringsMatch"]),
    ("50", PHONES, ["", "telephoneNumberMatch - telephoneNumberSubstringsMatch"]), ("1.3.6.1.1.1.0.0", NETGROUPS, [""]), ("1.3.6.1.1.1.0.1", BOOTS, [""]),
    ("1.3.6.1.1.16.1", UUIDS, ["", "UUIDMatch UUIDOrderingMatch"]), ("1.3.6.1.4.1.4203.666.11.2.1", CSNS, ["", "CSNMatch CSNOrderingMatch"]),
    ("1.3.6.1.4.1.4203.666.11.10.2.1", BER, ["", "attributeCertificateExactMatch"]),
]
