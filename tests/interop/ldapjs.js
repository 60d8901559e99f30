// Node's ldapjs against nhsdir: it ends a paged search with an error where a response control is missing. Environment: see run.
const fs = require('fs');
const ldap = require('ldapjs');
const { URL: url, CA, BASE, DN, SECRET, WRITER, WRITER_SECRET, PEOPLE } = process.env;

const connect = () => ldap.createClient({ url, tlsOptions: { ca: [fs.readFileSync(CA)] }, timeout: 10000 });
const check = (holds, what) => { if (!holds) throw new Error(what); };
const call = (client, verb, ...rest) => new Promise((resolve, reject) =>
  client[verb](...rest, (fault, ...found) => (fault ? reject(fault) : resolve(found[0]))));
const refused = async (name, work) => {
  const fault = await work().then(() => null, (fault) => fault);
  check(fault && fault.name === name, `expected ${name}, found ${fault && fault.name}`);
};
const search = (client, base, options, controls = []) => new Promise((resolve, reject) =>
  client.search(base, options, controls, (fault, events) => {
    if (fault) return reject(fault);
    const entries = [];
    let last;
    events.on('searchEntry', (entry) => entries.push(entry.object));
    events.on('error', reject);
    events.on('page', (page) => { last = page; });
    events.on('end', (result) => resolve({ entries, result: result || last }));
  }));

async function main() {
  const anonymous = connect();
  await refused('InappropriateAuthenticationError', () => call(anonymous, 'bind', '', ''));
  await search(anonymous, BASE, { scope: 'sub', filter: '(uid=*)' }).then(
    () => check(false, 'an anonymous search was answered'), () => {});
  anonymous.unbind();

  const client = connect();
  await refused('InvalidCredentialsError', () => call(client, 'bind', DN, 'wrong-secret-wrong-secret'));
  await call(client, 'bind', DN, SECRET);
  const who = await new Promise((resolve, reject) =>
    client.exop('1.3.6.1.4.1.4203.1.11.3', (fault, value) => (fault ? reject(fault) : resolve(value))));
  check(who.toLowerCase() === `dn:${DN}`.toLowerCase(), `who am I: ${who}`);

  const root = await search(client, '', { scope: 'base', attributes: ['*', '+'] });
  check([].concat(root.entries[0].namingContexts).includes(BASE), 'namingContexts');
  const schema = await search(client, root.entries[0].subschemaSubentry, { scope: 'base', filter: '(objectClass=subschema)', attributes: ['attributeTypes'] });
  check(schema.entries[0].attributeTypes.some((type) => type.includes("'nhsIDCode'")), 'nhsIDCode is not in the schema');

  const people = await search(client, `ou=People,${BASE}`, { scope: 'sub', filter: '(objectClass=nhsPerson)', attributes: ['dn'], paged: { pageSize: 300 } });
  check(people.entries.length === Number(PEOPLE), `expected ${PEOPLE} people, found ${people.entries.length}`);
  const order = new ldap.ServerSideSortingRequestControl({ value: [{ attributeType: 'sn' }] });
  const sorted = await search(client, `ou=People,${BASE}`, { scope: 'sub', filter: '(&(objectClass=nhsPerson)(sn=b*))', attributes: ['sn'] }, [order]);
  const names = sorted.entries.map((entry) => [].concat(entry.sn)[0].toLowerCase());
  check(names.length > 5 && String(names) === String([...names].sort()), 'the entries are not sorted by sn');

  const feed = connect();
  await call(feed, 'bind', WRITER, WRITER_SECRET);
  const entry = `cn=ldapjs list,ou=Lists,${BASE}`;
  const made = { objectClass: ['groupOfNames'], cn: 'ldapjs list', member: BASE };
  await call(feed, 'add', entry, made);
  await refused('EntryAlreadyExistsError', () => call(feed, 'add', entry, made));
  const change = (operation, values) => new ldap.Change({ operation, modification: { description: values } });
  await call(feed, 'modify', entry, [change('add', ['one', 'two']), change('replace', ['three'])]);
  check((await call(feed, 'compare', entry, 'description', 'THREE')) === true, 'compare true');
  check((await call(feed, 'compare', entry, 'description', 'one')) === false, 'compare false');
  await call(feed, 'modifyDN', entry, `cn=ldapjs list renamed,ou=Workgroups,${BASE}`);
  const moved = `cn=ldapjs list renamed,ou=Workgroups,${BASE}`;
  check((await search(feed, moved, { scope: 'base' })).entries.length === 1, 'the entry after its rename');
  await call(feed, 'del', moved);
  await refused('NoSuchObjectError', () => search(feed, moved, { scope: 'base' }));

  feed.unbind();
  client.unbind();
  console.log('ok');
}

main().catch((fault) => { console.error(fault); process.exit(1); });
