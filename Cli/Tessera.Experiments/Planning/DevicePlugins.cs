using Tessera.Hosting;
using Tessera.Sdk.Plugins;

namespace Tessera.Experiments.Planning;

/// <summary>The plugins of devices, each loaded once, so that its instances share what they share; disposing lets them go.</summary>
public sealed class DevicePlugins(PluginCatalog catalog) : IDisposable
{
    private readonly Dictionary<(string Name, PluginKind Kind), LoadedPlugin> _loaded = [];

    /// <summary>A plugin by name or path.</summary>
    /// <exception cref="PluginException">It cannot be loaded.</exception>
    public LoadedPlugin Load(string name, PluginKind kind)
    {
        if (!_loaded.TryGetValue((name, kind), out LoadedPlugin? plugin))
            _loaded[(name, kind)] = plugin = catalog.Load(name, kind);
        return plugin;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (LoadedPlugin plugin in _loaded.Values)
            plugin.Dispose();
        _loaded.Clear();
    }
}
