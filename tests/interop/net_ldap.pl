# Perl's Net::LDAP against nhsdir. Environment: see run.
use strict;
use warnings;
use Net::LDAP;
use Net::LDAP::Control::Paged;
use Net::LDAP::Constant qw(LDAP_CONTROL_PAGED);

my ($url, $ca, $base, $dn, $secret) = @ENV{qw(URL CA BASE DN SECRET)};

sub connection {
    return Net::LDAP->new($url, verify => 'require', cafile => $ca, timeout => 10) || die "cannot connect: $@";
}

my $ldap = connection();
$ldap->bind->code or die "an anonymous bind was accepted";
$ldap->search(base => $base, filter => '(uid=*)')->code or die "an anonymous search was answered";
$ldap->bind($dn, password => 'wrong-secret-wrong-secret')->code == 49 or die "expected invalidCredentials";

my $result = $ldap->bind($dn, password => $secret);
$result->code and die "bind: " . $result->error;
my $schema = $ldap->schema or die "no schema";
$schema->attribute('nhsIDCode') or die "nhsIDCode is not in the schema";
$schema->objectclass('nhsPerson') or die "nhsPerson is not in the schema";

my ($total, $page) = (0, Net::LDAP::Control::Paged->new(size => 250));
while (1) {
    my $found = $ldap->search(base => "ou=People,$base", filter => '(objectClass=nhsPerson)', attrs => ['cn'], control => [$page]);
    $found->code and die "paged search: " . $found->error;
    $total += $found->count;
    my ($answer) = $found->control(LDAP_CONTROL_PAGED) or die "the paging response control is missing";
    last unless length($answer->cookie // '');
    $page->cookie($answer->cookie);
}
$total == $ENV{PEOPLE} or die "expected $ENV{PEOPLE} people, found $total";
$ldap->unbind;
print "ok\n";
