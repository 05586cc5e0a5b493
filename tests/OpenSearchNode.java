import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.transport.Netty4Plugin;

/** One OpenSearch node with the modules of the plain distribution: HOME_DIR HTTP_PORT TRANSPORT_PORT. */
public class OpenSearchNode {
  static class Bare extends Node {
    Bare(Environment environment, Collection<Class<? extends Plugin>> plugins) {
      super(environment, plugins, true);
    }
  }

  public static void main(String[] arguments) throws Exception {
    Path home = Path.of(arguments[0]);
    Path config = home.resolve("config");
    Files.createDirectories(config);
    Settings settings = Settings.builder()
        .put("path.home", home.toString())
        .put("path.repo", home.resolve("repository").toString())
        .put("http.port", arguments[1])
        .put("transport.port", arguments[2])
        .put("network.host", "127.0.0.1")
        .put("discovery.type", "single-node")
        .put("cluster.name", "headrace-test")
        .put("node.name", "one")
        .put("transport.type", "netty4")
        .put("http.type", "netty4")
        .put("cluster.routing.allocation.disk.threshold_enabled", false)
        .build();
    Environment environment = InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), config, () -> "one");
    List<Class<? extends Plugin>> plugins = new ArrayList<>(List.of(Netty4Plugin.class));
    for (String module : List.of(
        "org.opensearch.analysis.common.CommonAnalysisPlugin",
        "org.opensearch.painless.PainlessPlugin",
        "org.opensearch.index.reindex.ReindexPlugin",
        "org.opensearch.ingest.common.IngestCommonPlugin",
        "org.opensearch.index.mapper.MapperExtrasPlugin")) {
      plugins.add(Class.forName(module).asSubclass(Plugin.class));
    }
    Node node = new Bare(environment, plugins);
    node.start();
    Thread.currentThread().join();
  }
}
