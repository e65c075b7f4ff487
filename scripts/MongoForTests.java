import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;

/** Runs mongo-java-server on a free loopback port: arguments are the data file and a file for the URI. */
public final class MongoForTests {

    /** PyMongo refuses servers below wire version 9, and this one would announce 8. */
    private static final MongoVersion ANNOUNCED = new MongoVersion() {
        @Override
        public int getWireVersion() {
            return 13;
        }

        @Override
        public List<Integer> getVersionArray() {
            return List.of(5, 0, 0);
        }

        @Override
        public String toVersionString() {
            return "5.0.0";
        }
    };

    public static void main(String[] arguments) throws Exception {
        H2Backend backend = new H2Backend(arguments[0]);
        backend.version(ANNOUNCED);
        MongoServer server = new MongoServer(backend);
        int port = server.bind().getPort();
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        Path announcement = Path.of(arguments[1]);
        Path unfinished = announcement.resolveSibling("uri.tmp");
        Files.writeString(unfinished, "mongodb://127.0.0.1:" + port + "\n");
        Files.move(unfinished, announcement, StandardCopyOption.ATOMIC_MOVE);
    }
}
