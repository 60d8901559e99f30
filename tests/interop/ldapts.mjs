// Node's ldapts against nhsdir. Environment: see run; NODE_MODULES is where the package is.
import fs from 'node:fs';
import { createRequire } from 'node:module';

const { Attribute, Change, Client, InvalidCredentialsError, NoSuchObjectError, AlreadyExistsError } = createRequire(`${process.env.NODE_MODULES}/`)('ldapts');
const { URL: url, CA, BASE, DN, SECRET, WRITER, WRITER_SECRET, PEOPLE } = process.env;

const connect = () => new Client({ url, tlsOptions: { ca: [fs.readFileSync(CA)] }, timeout: 10000 });
const check = (holds, what) => { if (!holds) throw new Error(what); };
const refused = async (what, kind, work) => {
  const fault = await work().then(() => null, (fault) => fault);
  check(fault && (!kind || fault instanceof kind), `${what}: expected a refusal, found ${fault}`);
};

const anonymous = connect();
await refused('anonymous bind', null, () => anonymous.bind('', ''));
await refused('anonymous search', null, () => anonymous.search(BASE, { filter: '(uid=*)' }));
await anonymous.unbind();

const client = connect();
await refused('wrong secret', InvalidCredentialsError, () => client.bind(DN, 'wrong-secret-wrong-secret'));
await client.bind(DN, SECRET);
const { value } = await client.exop('1.3.6.1.4.1.4203.1.11.3');
check(value.toString().toLowerCase() === `dn:${DN}`.toLowerCase(), `who am I: ${value}`);
const root = (await client.search('', { scope: 'base', attributes: ['*', '+'] })).searchEntries[0];
check([].concat(root.namingContexts).includes(BASE), 'namingContexts');
const schema = await client.search(root.subschemaSubentry, { scope: 'base', filter: '(objectClass=subschema)', attributes: ['attributeTypes'] });
check(schema.searchEntries[0].attributeTypes.some((type) => type.includes("'nhsIDCode'")), 'nhsIDCode is not in the schema');

const people = await client.search(`ou=People,${BASE}`, { filter: '(objectClass=nhsPerson)', attributes: ['cn'], paged: { pageSize: 300 } });
check(people.searchEntries.length === Number(PEOPLE), `expected ${PEOPLE} people, found ${people.searchEntries.length}`);
let pages = 0;
for await (const page of client.searchPaginated(`ou=People,${BASE}`, { filter: '(objectClass=nhsPerson)', attributes: ['1.1'], paged: { pageSize: 500 } })) {
  pages += page.searchEntries.length > 0 ? 1 : 0;
}
check(pages === Math.ceil(Number(PEOPLE) / 500), `pages: ${pages}`);

const feed = connect();
await feed.bind(WRITER, WRITER_SECRET);
const entry = `cn=ldapts list,ou=Lists,${BASE}`;
const made = { objectClass: ['groupOfNames'], cn: 'ldapts list', member: BASE };
await feed.add(entry, made);
await refused('added twice', AlreadyExistsError, () => feed.add(entry, made));
const change = (operation, values) => new Change({ operation, modification: new Attribute({ type: 'description', values }) });
await feed.modify(entry, [change('add', ['one', 'two']), change('replace', ['héllo'])]);
check(await feed.compare(entry, 'description', 'HÉLLO'), 'compare true');
check(!(await feed.compare(entry, 'description', 'one')), 'compare false');
await feed.modifyDN(entry, `cn=ldapts list renamed,ou=Workgroups,${BASE}`);
const moved = `cn=ldapts list renamed,ou=Workgroups,${BASE}`;
check((await feed.search(moved, { scope: 'base' })).searchEntries[0].cn === 'ldapts list renamed', 'the entry after its rename');
await feed.del(moved);
await refused('deleted', NoSuchObjectError, () => feed.search(moved, { scope: 'base' }));
await feed.unbind();
await client.unbind();
console.log('ok');
