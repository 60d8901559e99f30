import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Hashtable;
import javax.naming.Context;
import javax.naming.NamingEnumeration;
import javax.naming.NamingException;
import javax.naming.directory.DirContext;
import javax.naming.directory.SearchControls;
import javax.naming.directory.SearchResult;
import javax.naming.ldap.Control;
import javax.naming.ldap.InitialLdapContext;
import javax.naming.ldap.LdapContext;
import javax.naming.ldap.PagedResultsControl;
import javax.naming.ldap.PagedResultsResponseControl;
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
        context.close();
        System.out.println("ok");
    }
}
