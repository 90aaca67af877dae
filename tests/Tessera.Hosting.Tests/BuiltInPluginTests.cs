using Microsoft.Extensions.DependencyInjection;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting.Tests;

/// <summary>The built-in plugins, from the folder that the build puts them in, through the door that every plugin comes in by.</summary>
internal sealed class BuiltInPluginTests
{
    private static readonly PluginCatalog Catalog = new([FindFolder()]);

    [TestCase("direct-paging")]
    public void MMU_virtualizations_load_and_can_be_made(string name) => Make<IMmuVirtualization>(name, PluginKind.Mmu);

    [TestCase("static-partition")]
    public void Memory_policies_load_and_can_be_made(string name) => Make<IMemoryPolicy>(name, PluginKind.MemoryPolicy);

    [TestCase("direct-paging", PluginKind.Mmu)]
    [TestCase("static-partition", PluginKind.MemoryPolicy)]
    public void The_SDK_is_not_in_a_plugins_folder(string name, PluginKind kind)
    {
        using LoadedPlugin plugin = Catalog.Load(name, kind);
        Assert.That(Directory.GetFiles(Path.GetDirectoryName(plugin.Info.Path)!, "Tessera.Sdk.dll"), Is.Empty);
    }

    private static void Make<T>(string name, PluginKind kind)
        where T : class
    {
        using ServiceProvider services = new ServiceCollection().BuildServiceProvider();
        using LoadedPlugin plugin = Catalog.Load(name, kind);
        Assert.That(plugin.Create<T>(null, services), Is.Not.Null);
        Assert.That(plugin.Info.Summary, Is.Not.Empty);
    }

    private static string FindFolder()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder);
        return Path.Combine(folder ?? throw new InvalidOperationException("Tessera.slnx is in no folder above the tests."), "artifacts", "plugins");
    }
}
