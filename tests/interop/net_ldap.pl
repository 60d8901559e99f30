# Perl's Net::LDAP against nhsdir. Environment: see run.
use strict;
use warnings;
use Net::LDAP;
use Net::LDAP::Control::Paged;
use Net::LDAP::Control::Sort;
use Net::LDAP::Control::VLV;
use Net::LDAP::Control::PostRead;
use Net::LDAP::Control::Assertion;
use Net::LDAP::Extension::WhoAmI;
use Net::LDAP::Constant qw(LDAP_CONTROL_PAGED LDAP_CONTROL_SORTRESULT LDAP_CONTROL_POSTREAD LDAP_CONTROL_VLVRESPONSE);

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
    my ($response) = $found->control(LDAP_CONTROL_PAGED) or die "the paging response control is missing";
    last unless length($response->cookie // '');
    $page->cookie($response->cookie);
}
$total == $ENV{PEOPLE} or die "expected $ENV{PEOPLE} people, found $total";
lc($ldap->who_am_i->response) eq lc("dn:$dn") or die 'who am I';
my $root = $ldap->root_dse(attrs => ['*', '+']);
$root->supported_control(LDAP_CONTROL_PAGED) && $root->get_value('namingContexts') eq $base or die 'root DSE';

my $sort = Net::LDAP::Control::Sort->new(order => 'sn -givenName', critical => 1);
my $sorted = $ldap->search(base => "ou=People,$base", filter => '(&(objectClass=nhsPerson)(sn=b*))', attrs => ['sn'], control => [$sort]);
my ($answer) = $sorted->control(LDAP_CONTROL_SORTRESULT) or die "the sort response control is missing: " . $sorted->error;
$answer->result == 0 or die 'sort: ' . $answer->result;
my @names = map { lc $_->get_value('sn') } $sorted->entries;
@names > 5 && "@names" eq join(' ', sort @names) or die "not sorted by sn: @names";

my $list = Net::LDAP::Control::VLV->new(before => 0, after => 9, content => 0, offset => 1, critical => 1);
my @pages;
for (1 .. 3) {
    my $window = $ldap->search(base => "ou=People,$base", filter => '(&(objectClass=nhsPerson)(sn=b*))', attrs => ['sn'], control => [$sort, $list]);
    $window->code and die "virtual list view: " . $window->error;
    my ($where) = $window->control(LDAP_CONTROL_VLVRESPONSE) or die "the virtual list response control is missing";
    length $where->context or die "no context id";
    $where->content == @names or die "expected a list of " . @names . ", found " . $where->content;
    push @pages, map { lc $_->get_value('sn') } $window->entries;
    $list->response($where);
    $list->scroll_page(1);
}
"@pages" eq "@names[0 .. 29]" or die "windows that do not follow each other: @pages";

my $feed = connection();
sub done { my ($what, $message) = @_; $message->code and die "$what: " . $message->error; return $message }
done('bind of the writer', $feed->bind($ENV{WRITER}, password => $ENV{WRITER_SECRET}));
my $entry = "cn=Perl list,ou=Lists,$base";
my @made = (attrs => [objectClass => 'groupOfNames', cn => 'Perl list', member => $base]);
done('add', $feed->add($entry, @made));
$feed->add($entry, @made)->code == 68 or die 'added twice';
done('modify', $feed->modify($entry, changes => [add => [description => ['one', 'two']], replace => [description => 'three']]));
my $unmet = Net::LDAP::Control::Assertion->new(assertion => '(description=one)', critical => 1);
$feed->modify($entry, delete => ['description'], control => [$unmet])->code == 122 or die 'an assertion that is not met';
$feed->compare($entry, attr => 'description', value => 'THREE')->code == 6 or die 'compare true';
$feed->compare($entry, attr => 'description', value => 'one')->code == 5 or die 'compare false';
my $read = Net::LDAP::Control::PostRead->new(attrs => ['cn'], critical => 1);
my $renamed = done('rename', $feed->moddn($entry, newrdn => 'cn=Perl renamed', deleteoldrdn => 1, newsuperior => "ou=Workgroups,$base", control => [$read]));
my ($after) = $renamed->control(LDAP_CONTROL_POSTREAD) or die 'the post-read response control is missing';
$after->entry->get_value('cn') eq 'Perl renamed' or die 'the entry after its rename';
done('delete', $feed->delete("cn=Perl renamed,ou=Workgroups,$base"));
$feed->search(base => "cn=Perl renamed,ou=Workgroups,$base", scope => 'base', filter => '(objectClass=*)')->code == 32 or die 'deleted, and still there';
$feed->unbind;

my $given_up = $ldap->search(base => "ou=People,$base", filter => '(cn=*a*)', callback => sub { });
$ldap->abandon($given_up);
$ldap->search(base => $base, scope => 'base', filter => '(objectClass=*)')->count == 1 or die 'the connection did not live on after an abandon';
$ldap->unbind;
print "ok\n";
