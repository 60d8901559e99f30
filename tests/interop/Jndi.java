import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Hashtable;
import javax.naming.Context;
import javax.naming.NamingEnumeration;
import javax.naming.NamingException;
import javax.naming.directory.BasicAttribute;
import javax.naming.directory.BasicAttributes;
import javax.naming.directory.DirContext;
import javax.naming.directory.ModificationItem;
import javax.naming.directory.SearchControls;
import javax.naming.directory.SearchResult;
import javax.naming.ldap.Control;
import javax.naming.ldap.InitialLdapContext;
import javax.naming.ldap.LdapContext;
import javax.naming.ldap.PagedResultsControl;
import javax.naming.ldap.PagedResultsResponseControl;
import javax.naming.ldap.SortControl;
import javax.naming.ldap.SortResponseControl;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** JNDI, the client of most Java applications, against nhsdir. Environment: see run. */
public class Jndi {
    static final String URL = System.getenv("URL"), BASE = System.getenv("BASE");

    static LdapContext bind(String name, String secret) throws NamingException {
        Hashtable<String, Object> facts = new Hashtable<>();
        facts.put(Context.INITIAL_CONTEXT_FACTORY, "com.sun.jndi.ldap.LdapCtxFactory");
        facts.put(Context.PROVIDER_URL, URL);
        facts.put(Context.SECURITY_AUTHENTICATION, name == null ? "none" : "simple");
        if (name != null) {
            facts.put(Context.SECURITY_PRINCIPAL, name);
            facts.put(Context.SECURITY_CREDENTIALS, secret);
        }
        return new InitialLdapContext(facts, null);
    }

    static void trust(String file) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (FileInputStream in = new FileInputStream(file)) {
            store.setCertificateEntry("nhsdir", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, factory.getTrustManagers(), null);
        SSLContext.setDefault(context);
    }

    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void sorted(LdapContext context) throws Exception {
        context.setRequestControls(new Control[] {new SortControl("sn", Control.CRITICAL)});
        SearchControls some = new SearchControls(SearchControls.SUBTREE_SCOPE, 0, 0, new String[] {"sn"}, false, false);
        NamingEnumeration<SearchResult> found = context.search("ou=People," + BASE, "(&(objectClass=nhsPerson)(sn={0}*))", new Object[] {"b"}, some);
        String last = "";
        int count = 0;
        while (found.hasMore()) {
            String name = ((String) found.next().getAttributes().get("sn").get()).toLowerCase();
            check(last.compareTo(name) <= 0, name + " after " + last);
            last = name;
            count++;
        }
        check(count > 5, "expected people, found " + count);
        boolean told = false;
        for (Control answer : context.getResponseControls()) {
            told |= answer instanceof SortResponseControl sort && sort.isSorted();
        }
        check(told, "the sort response control is missing");
    }

    static void changes(LdapContext feed) throws Exception {
        String entry = "cn=JNDI list,ou=Lists," + BASE, moved = "cn=JNDI renamed,ou=Workgroups," + BASE;
        BasicAttributes made = new BasicAttributes(true);
        made.put("objectClass", "groupOfNames");
        made.put("cn", "JNDI list");
        made.put("member", BASE);
        feed.createSubcontext(entry, made).close();
        try {
            feed.createSubcontext(entry, made);
            check(false, "added twice");
        } catch (javax.naming.NameAlreadyBoundException expected) {
            // entryAlreadyExists.
        }
        BasicAttribute words = new BasicAttribute("description", "one");
        words.add("two");
        feed.modifyAttributes(entry, new ModificationItem[] {
            new ModificationItem(DirContext.ADD_ATTRIBUTE, words),
            new ModificationItem(DirContext.REPLACE_ATTRIBUTE, new BasicAttribute("description", "héllo")),
        });
        // JNDI compares where the base object is searched for one value and nothing is asked back.
        SearchControls compare = new SearchControls(SearchControls.OBJECT_SCOPE, 0, 0, new String[0], false, false);
        check(feed.search(entry, "(description={0})", new Object[] {"HÉLLO"}, compare).hasMore(), "compare true");
        check(!feed.search(entry, "(description={0})", new Object[] {"one"}, compare).hasMore(), "compare false");
        feed.addToEnvironment("java.naming.ldap.deleteRDN", "true");
        feed.rename(entry, moved);
        check(feed.getAttributes(moved, new String[] {"cn"}).get("cn").size() == 1, "the entry after its rename");
        feed.destroySubcontext(moved);
        try {
            feed.getAttributes(moved);
            check(false, "deleted, and still there");
        } catch (javax.naming.NameNotFoundException expected) {
            // noSuchObject.
        }
        feed.close();
    }

    public static void main(String[] arguments) throws Exception {
        trust(System.getenv("CA"));
        try {
            LdapContext anonymous = bind(null, null);
            anonymous.search(BASE, "(uid=*)", new SearchControls()).hasMore();
            check(false, "an anonymous search was answered");
        } catch (NamingException expected) {
            // The refusal is what this asks for.
        }
        try {
            bind(System.getenv("DN"), "wrong-secret-wrong-secret");
            check(false, "a wrong secret was accepted");
        } catch (javax.naming.AuthenticationException expected) {
            // invalidCredentials.
        }
        LdapContext context = bind(System.getenv("DN"), System.getenv("SECRET"));
        DirContext schema = context.getSchema("");
        check(schema.lookup("AttributeDefinition/nhsIDCode") != null, "nhsIDCode is not in the schema");
        check(schema.lookup("ClassDefinition/nhsPerson") != null, "nhsPerson is not in the schema");
        SearchControls subtree = new SearchControls(SearchControls.SUBTREE_SCOPE, 0, 0, new String[] {"cn"}, false, false);
        int total = 0;
        byte[] cookie = null;
        do {
            context.setRequestControls(new Control[] {new PagedResultsControl(200, cookie, Control.CRITICAL)});
            NamingEnumeration<SearchResult> found = context.search("ou=People," + BASE, "(objectClass=nhsPerson)", subtree);
            while (found.hasMore()) {
                found.next();
                total++;
            }
            cookie = null;
            Control[] answers = context.getResponseControls();
            check(answers != null, "the paging response control is missing");
            for (Control answer : answers) {
                if (answer instanceof PagedResultsResponseControl paged) {
                    cookie = paged.getCookie();
                }
            }
        } while (cookie != null && cookie.length > 0);
        int people = Integer.parseInt(System.getenv("PEOPLE"));
        check(total == people, "expected " + people + " people, found " + total);
        sorted(context);
        context.setRequestControls(null);
        SearchControls base = new SearchControls();
        base.setSearchScope(SearchControls.OBJECT_SCOPE);
        base.setReturningAttributes(new String[] {"*", "+"});
        check(BASE.equals(context.search("", "(objectClass=*)", base).next().getAttributes().get("namingContexts").get()), "root DSE");
        context.close();
        changes(bind(System.getenv("WRITER"), System.getenv("WRITER_SECRET")));
        System.out.println("ok");
    }
}
