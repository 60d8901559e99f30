import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import org.apache.directory.api.ldap.extras.controls.ad.TreeDeleteImpl;
import org.apache.directory.api.ldap.extras.controls.permissiveModify.PermissiveModifyImpl;
import org.apache.directory.api.ldap.extras.controls.ppolicy.PasswordPolicyRequestImpl;
import org.apache.directory.api.ldap.extras.controls.ppolicy.PasswordPolicyResponse;
import org.apache.directory.api.ldap.extras.controls.vlv.VirtualListViewRequestImpl;
import org.apache.directory.api.ldap.extras.controls.vlv.VirtualListViewResponse;
import org.apache.directory.api.ldap.extras.extended.cancel.CancelRequestImpl;
import org.apache.directory.api.ldap.extras.extended.whoAmI.WhoAmIRequestImpl;
import org.apache.directory.api.ldap.extras.extended.whoAmI.WhoAmIResponse;
import org.apache.directory.api.ldap.model.cursor.SearchCursor;
import org.apache.directory.api.ldap.model.entry.Attribute;
import org.apache.directory.api.ldap.model.entry.DefaultEntry;
import org.apache.directory.api.ldap.model.entry.DefaultModification;
import org.apache.directory.api.ldap.model.entry.Entry;
import org.apache.directory.api.ldap.model.entry.ModificationOperation;
import org.apache.directory.api.ldap.model.exception.LdapAuthenticationException;
import org.apache.directory.api.ldap.model.exception.LdapContextNotEmptyException;
import org.apache.directory.api.ldap.model.exception.LdapEntryAlreadyExistsException;
import org.apache.directory.api.ldap.model.exception.LdapException;
import org.apache.directory.api.ldap.model.message.BindRequestImpl;
import org.apache.directory.api.ldap.model.message.BindResponse;
import org.apache.directory.api.ldap.model.message.Control;
import org.apache.directory.api.ldap.model.message.DeleteRequestImpl;
import org.apache.directory.api.ldap.model.message.ModifyRequestImpl;
import org.apache.directory.api.ldap.model.message.ResultCodeEnum;
import org.apache.directory.api.ldap.model.message.SearchRequest;
import org.apache.directory.api.ldap.model.message.SearchRequestImpl;
import org.apache.directory.api.ldap.model.message.SearchResultEntry;
import org.apache.directory.api.ldap.model.message.SearchScope;
import org.apache.directory.api.ldap.model.message.controls.PagedResults;
import org.apache.directory.api.ldap.model.message.controls.PagedResultsImpl;
import org.apache.directory.api.ldap.model.message.controls.SortKey;
import org.apache.directory.api.ldap.model.message.controls.SortRequestImpl;
import org.apache.directory.api.ldap.model.message.controls.SortResponse;
import org.apache.directory.api.ldap.model.message.controls.SortResultCode;
import org.apache.directory.api.ldap.model.name.Dn;
import org.apache.directory.ldap.client.api.LdapConnection;
import org.apache.directory.ldap.client.api.LdapConnectionConfig;
import org.apache.directory.ldap.client.api.LdapConnectionPool;
import org.apache.directory.ldap.client.api.LdapNetworkConnection;
import org.apache.directory.ldap.client.api.ValidatingPoolableLdapConnectionFactory;

/** Apache Directory's LDAP API, which Apache Directory Studio is made with, against nhsdir. Environment: see run. */
public class ApacheDirectory {
    static final String BASE = System.getenv("BASE"), PEOPLE = "ou=People," + BASE;

    static LdapConnectionConfig config(String name, String secret) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (FileInputStream in = new FileInputStream(System.getenv("CA"))) {
            store.setCertificateEntry("nhsdir", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        TrustManager[] trust = factory.getTrustManagers();
        String[] address = System.getenv("URL").substring("ldaps://".length()).split(":");
        LdapConnectionConfig config = new LdapConnectionConfig();
        config.setLdapHost(address[0]);
        config.setLdapPort(Integer.parseInt(address[1]));
        config.setUseSsl(true);
        config.setTrustManagers(trust);
        config.setTimeout(TimeUnit.SECONDS.toMillis(20));
        config.setName(name);
        config.setCredentials(secret);
        return config;
    }

    static LdapNetworkConnection bound(String name, String secret) throws Exception {
        LdapNetworkConnection connection = new LdapNetworkConnection(config(name, secret));
        connection.bind();
        return connection;
    }

    static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static SearchRequest search(String base, SearchScope scope, String filter, String... attributes) throws Exception {
        SearchRequest request = new SearchRequestImpl();
        request.setBase(new Dn(base));
        request.setScope(scope);
        request.setFilter(filter);
        request.addAttributes(attributes);
        return request;
    }

    static List<Entry> all(SearchCursor cursor) throws Exception {
        List<Entry> entries = new ArrayList<>();
        while (cursor.next()) {
            if (cursor.get() instanceof SearchResultEntry found) {
                entries.add(found.getEntry());
            }
        }
        return entries;
    }

    static Control answer(SearchCursor cursor, String oid) throws Exception {
        Control control = cursor.getSearchResultDone().getControl(oid);
        check(control != null, "the response control " + oid + " is missing");
        return control;
    }

    static void refused() throws Exception {
        try (LdapNetworkConnection anonymous = new LdapNetworkConnection(config(null, null))) {
            anonymous.connect();
            check(anonymous.getRootDse() != null, "the root DSE before a bind");
            anonymous.anonymousBind();
            check(false, "an anonymous bind was accepted");
        } catch (LdapException expected) {
            // The refusal is what this asks for.
        }
        try {
            bound(System.getenv("DN"), "wrong-secret-wrong-secret");
            check(false, "a wrong secret was accepted");
        } catch (LdapAuthenticationException expected) {
            // invalidCredentials.
        }
    }

    /** The client takes a schema only if it finds nothing wrong in it, and then holds every value of an entry to it. */
    static void schema(LdapNetworkConnection connection) throws Exception {
        connection.loadSchema();
        check(connection.getSchemaManager().getErrors().isEmpty(), connection.getSchemaManager().getErrors());
        check(connection.getSchemaManager().getAttributeType("nhsIDCode") != null, "nhsIDCode is not in the schema");
        SearchRequest some = search(PEOPLE, SearchScope.ONELEVEL, "(objectClass=nhsPerson)", "*", "+");
        some.setSizeLimit(50);
        for (Entry entry : all(connection.search(some))) {
            for (Attribute attribute : entry) {
                check(attribute.getAttributeType() != null, attribute.getUpId());
            }
        }
    }

    static void lists(LdapNetworkConnection connection) throws Exception {
        byte[] cookie = null;
        int total = 0;
        do {
            SearchRequest page = search(PEOPLE, SearchScope.SUBTREE, "(objectClass=nhsPerson)", "1.1");
            PagedResults control = new PagedResultsImpl();
            control.setSize(300);
            control.setCookie(cookie);
            control.setCritical(true);
            page.addControl(control);
            SearchCursor cursor = connection.search(page);
            total += all(cursor).size();
            cookie = ((PagedResults) answer(cursor, PagedResults.OID)).getCookie();
        } while (cookie != null && cookie.length > 0);
        check(total == Integer.parseInt(System.getenv("PEOPLE")), "paged: " + total);
        SearchRequest list = search(PEOPLE, SearchScope.SUBTREE, "(objectClass=nhsPerson)", "sn");
        SortRequestImpl sort = new SortRequestImpl();
        sort.addSortKey(new SortKey("sn", null, true));
        sort.setCritical(true);
        VirtualListViewRequestImpl window = new VirtualListViewRequestImpl();
        window.setBeforeCount(1);
        window.setAfterCount(2);
        window.setOffset(5);
        window.setContentCount(0);
        window.setCritical(true);
        list.addControl(sort).addControl(window);
        SearchCursor cursor = connection.search(list);
        List<Entry> found = all(cursor);
        VirtualListViewResponse where = (VirtualListViewResponse) answer(cursor, VirtualListViewResponse.OID);
        SortResponse sorted = (SortResponse) answer(cursor, SortResponse.OID);
        check(found.size() == 4 && where.getTargetPosition() == 5 && where.getContentCount() == total, where);
        check(sorted.getSortResult() == SortResultCode.SUCCESS, sorted);
    }

    static void asks(LdapNetworkConnection connection) throws Exception {
        WhoAmIResponse who = (WhoAmIResponse) connection.extended(new WhoAmIRequestImpl());
        check(who.getDn().toString().equalsIgnoreCase(System.getenv("DN")), who);
        CancelRequestImpl cancel = new CancelRequestImpl();
        cancel.setCancelId(9999);
        check(connection.extended(cancel).getLdapResult().getResultCode() == ResultCodeEnum.NO_SUCH_OPERATION, "cancel");
        try (LdapNetworkConnection other = new LdapNetworkConnection(config(null, null))) {
            other.connect();
            BindRequestImpl bind = new BindRequestImpl();
            bind.setName(System.getenv("NAME"));
            bind.setCredentials(System.getenv("SECRET"));
            bind.addControl(new PasswordPolicyRequestImpl());
            BindResponse bound = other.bind(bind);
            check(bound.getLdapResult().getResultCode() == ResultCodeEnum.SUCCESS, bound);
            check(bound.getControl(PasswordPolicyResponse.OID) != null, "who asks is answered");
        }
        ValidatingPoolableLdapConnectionFactory made = new ValidatingPoolableLdapConnectionFactory(config(System.getenv("DN"), System.getenv("SECRET")));
        try (LdapConnectionPool pool = new LdapConnectionPool(made)) {
            pool.setTestOnBorrow(true);
            for (int turn = 0; turn < 3; turn++) {
                LdapConnection borrowed = pool.getConnection();
                check(borrowed.exists(BASE), "the base");
                pool.releaseConnection(borrowed);
            }
            check(pool.getCreatedCount() == 1, "connections made: " + pool.getCreatedCount());
        }
    }

    static void changes(LdapNetworkConnection feed) throws Exception {
        String lists = "ou=Lists," + BASE;
        Dn entry = new Dn("cn=Apache list," + lists);
        DefaultEntry made = new DefaultEntry(entry, "objectClass: groupOfNames", "cn: Apache list", "member", BASE);
        feed.add(made);
        try {
            feed.add(made);
            check(false, "added twice");
        } catch (LdapEntryAlreadyExistsException expected) {
            // entryAlreadyExists.
        }
        feed.modify(entry, new DefaultModification(ModificationOperation.ADD_ATTRIBUTE, "description", "one", "two"),
            new DefaultModification(ModificationOperation.REPLACE_ATTRIBUTE, "description", "h\u00e9llo"));
        ModifyRequestImpl again = new ModifyRequestImpl();
        again.setName(entry);
        again.add("description", "h\u00e9llo");
        again.addControl(new PermissiveModifyImpl());
        check(feed.modify(again).getLdapResult().getResultCode() == ResultCodeEnum.SUCCESS, "permissive modify");
        check(feed.compare(entry, "description", "H\u00c9LLO") && !feed.compare(entry, "description", "one"), "compare");
        feed.moveAndRename(entry.getName(), "cn=Apache renamed,ou=Workgroups," + BASE);
        feed.delete("cn=Apache renamed,ou=Workgroups," + BASE);
        String tree = "ou=Apache tree," + lists;
        feed.add(new DefaultEntry(tree, "objectClass: organizationalUnit", "ou: Apache tree"));
        feed.add(new DefaultEntry("ou=leaf," + tree, "objectClass: organizationalUnit", "ou: leaf"));
        try {
            feed.delete(tree);
            check(false, "deleted with what is below");
        } catch (LdapContextNotEmptyException expected) {
            // notAllowedOnNonLeaf.
        }
        DeleteRequestImpl all = new DeleteRequestImpl();
        all.setName(new Dn(tree));
        all.addControl(new TreeDeleteImpl());
        check(feed.delete(all).getLdapResult().getResultCode() == ResultCodeEnum.SUCCESS && !feed.exists(tree), "tree delete");
    }

    public static void main(String[] arguments) throws Exception {
        refused();
        LdapNetworkConnection connection = bound(System.getenv("DN"), System.getenv("SECRET"));
        lists(connection);
        asks(connection);
        schema(connection);
        connection.unBind();
        LdapNetworkConnection feed = bound(System.getenv("WRITER"), System.getenv("WRITER_SECRET"));
        changes(feed);
        feed.unBind();
        System.out.println("ok");
        System.exit(0);
    }
}
