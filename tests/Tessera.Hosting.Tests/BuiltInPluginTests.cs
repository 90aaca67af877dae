using System.Runtime.CompilerServices;
using System.Runtime.Loader;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using Tessera.Sdk;
using Tessera.Sdk.Memory;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Hosting.Tests;

/// <summary>The built-in plugins, from the folder that the build puts them in, through the door that every plugin comes in by.</summary>
internal sealed class BuiltInPluginTests
{
    private static readonly string Root = FindRoot();
    private static readonly PluginCatalog Catalog = new([Path.Combine(Root, "artifacts", "plugins")]);

    [Test]
    public void Every_plugin_in_the_source_tree_is_listed_and_described()
    {
        IReadOnlyList<PluginInfo> plugins = Catalog.List();
        Assert.That(plugins.Select(plugin => Path.GetFileNameWithoutExtension(plugin.Path)), Is.SupersetOf(Projects()));
        Assert.That(plugins.Where(plugin => plugin.Summary.Length == 0), Is.Empty);
        Assert.That(plugins.Where(plugin => plugin.SdkVersion != $"{SdkVersion.Major}.{SdkVersion.Minor}"), Is.Empty);
    }

    [Test]
    public void Every_scheduler_loads_and_can_be_made()
    {
        string[] schedulers = [.. Catalog.List().Where(plugin => plugin.Kind == PluginKind.Scheduler).Select(plugin => plugin.Name)];
        Assert.That(schedulers, Has.Member("round-robin"));
        foreach (string name in schedulers)
            Make<IScheduler>(name, PluginKind.Scheduler);
    }

    [TestCase("direct-paging")]
    public void MMU_virtualizations_load_and_can_be_made(string name) => Make<IMmuVirtualization>(name, PluginKind.Mmu);

    [TestCase("static-partition")]
    public void Memory_policies_load_and_can_be_made(string name) => Make<IMemoryPolicy>(name, PluginKind.MemoryPolicy);

    [Test]
    public void Round_robins_slice_is_an_option_with_a_unit()
    {
        using LoadedPlugin plugin = Catalog.Load("round-robin", PluginKind.Scheduler);
        OptionInfo slice = plugin.Info.Options.Single();
        Assert.That((slice.Name, slice.Type, slice.Default, slice.Min, slice.Max), Is.EqualTo(("slice", OptionType.Duration, "10 ms", "10 us", "1 s")));
        using ServiceProvider services = new ServiceCollection().BuildServiceProvider();
        List<ConfigurationProblem> problems = [];
        object? options = OptionBinder.Bind(plugin.OptionsType, JsonDocument.Parse("""{ "slice": "2 ms" }""").RootElement, "scheduler.options", problems);
        IScheduler scheduler = plugin.Create<IScheduler>(options, services);
        scheduler.Attach(new OneCpu());
        SchedulableVcpu vcpu = new(new SchedulableDomain(new DomainId(1)));
        scheduler.Add(vcpu, Nanoseconds.Zero);
        scheduler.Wake(vcpu, Nanoseconds.Zero);
        Assert.That(problems, Is.Empty);
        Assert.That(scheduler.Schedule(new SchedulingPoint(new PcpuId(0), Nanoseconds.Zero, null, Nanoseconds.Zero, false)), Is.EqualTo(new Decision(vcpu, Nanoseconds.FromMilliseconds(2))));
    }

    [Test]
    public void A_hundred_loads_of_a_built_in_plugin_leave_nothing_behind()
    {
        WeakReference[] lifetimes = [.. Enumerable.Range(0, 100).Select(_ => MakeAndUnload())];
        for (int attempt = 0; attempt < 20 && lifetimes.Any(lifetime => lifetime.IsAlive); attempt++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }

        Assert.That(lifetimes.Count(lifetime => lifetime.IsAlive), Is.Zero);
    }

    [Test]
    public void An_MMU_stays_and_is_loaded_once_while_its_file_is_the_same()
    {
        Type first = TypeOf(Catalog, "direct-paging");
        GC.Collect();
        Assert.That(TypeOf(new PluginCatalog([Path.Combine(Root, "artifacts", "plugins")]), "direct-paging"), Is.SameAs(first));
        Assert.That(AssemblyLoadContext.GetLoadContext(first.Assembly)!.IsCollectible, Is.False);
    }

    [Test]
    public void An_MMU_that_was_built_anew_is_loaded_anew()
    {
        string folder = Directory.CreateTempSubdirectory("tessera-").FullName;
        try
        {
            string name = Projects().Single(project => project.EndsWith(".DirectPaging", StringComparison.Ordinal));
            string copy = Directory.CreateDirectory(Path.Combine(folder, name)).FullName;
            foreach (string file in Directory.GetFiles(Path.Combine(Root, "artifacts", "plugins", name)))
                File.Copy(file, Path.Combine(copy, Path.GetFileName(file)));
            PluginCatalog catalog = new([folder]);
            Type first = TypeOf(catalog, "direct-paging");
            using (FileStream dll = new(Path.Combine(copy, name + ".dll"), FileMode.Append))
                dll.WriteByte(0);
            Type second = TypeOf(catalog, "direct-paging");
            Assert.That(second, Is.Not.SameAs(first));
            Assert.That(second.FullName, Is.EqualTo(first.FullName));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [TestCase("round-robin", PluginKind.Scheduler)]
    [TestCase("direct-paging", PluginKind.Mmu)]
    [TestCase("static-partition", PluginKind.MemoryPolicy)]
    public void The_SDK_is_not_in_a_plugins_folder(string name, PluginKind kind)
    {
        using LoadedPlugin plugin = Catalog.Load(name, kind);
        Assert.That(Directory.GetFiles(Path.GetDirectoryName(plugin.Info.Path)!, "Tessera.Sdk.dll"), Is.Empty);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference MakeAndUnload()
    {
        using ServiceProvider services = new ServiceCollection().BuildServiceProvider();
        using LoadedPlugin plugin = Catalog.Load("round-robin", PluginKind.Scheduler);
        plugin.Create<IScheduler>(null, services).Attach(new OneCpu());
        return plugin.Lifetime;
    }

    private static Type TypeOf(PluginCatalog catalog, string name)
    {
        using ServiceProvider services = new ServiceCollection().BuildServiceProvider();
        using LoadedPlugin plugin = catalog.Load(name, PluginKind.Mmu);
        return plugin.Create<IMmuVirtualization>(null, services).GetType();
    }

    private static void Make<T>(string name, PluginKind kind)
        where T : class
    {
        using ServiceProvider services = new ServiceCollection().BuildServiceProvider();
        using LoadedPlugin plugin = Catalog.Load(name, kind);
        Assert.That(plugin.Create<T>(null, services), Is.Not.Null);
        Assert.That(plugin.Info.Summary, Is.Not.Empty);
    }

    /// <summary>The projects under Plugins that have source.</summary>
    private static IEnumerable<string> Projects() =>
        Directory.GetFiles(Path.Combine(Root, "Plugins"), "*.csproj", SearchOption.AllDirectories)
            .Where(project => Directory.GetFiles(Path.GetDirectoryName(project)!, "*.cs").Length > 0)
            .Select(project => Path.GetFileNameWithoutExtension(project));

    private static string FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder);
        return folder ?? throw new InvalidOperationException($"Tessera.slnx is in no folder above {AppContext.BaseDirectory}.");
    }

    /// <summary>An idle machine.</summary>
    private sealed class OneCpu : ISchedulerMachine
    {
        public int PcpuCount => 1;

        public SchedulableVcpu? Running(PcpuId pcpu) => null;

        public void RequestReschedule(PcpuId pcpu)
        {
        }

        public void RequestRescheduleAt(PcpuId pcpu, Nanoseconds at)
        {
        }
    }
}
