using System.Runtime.CompilerServices;
using System.Runtime.Loader;
using System.Text.Json;
using Microsoft.CodeAnalysis;
using Microsoft.Extensions.DependencyInjection;
using Tessera.Sdk;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Hosting.Tests;

internal sealed class PluginHostTests
{
    private const string OptionsSource = """
        public enum Order { FirstComeFirstServed, RoundRobin }

        public sealed record SampleOptions
        {
            [Option("How long a vCPU runs.", Min = "1 ms", Max = "1 s")] public Nanoseconds Slice { get; init; } = Nanoseconds.FromMilliseconds(5);
            [Option("In what order.")] public Order Order { get; init; }
            [Option("Memory for the log.")] public ByteSize LogSize { get; init; } = new(1 << 20);
        }

        public sealed record SampleDomainOptions
        {
            [Option("Lower runs first.")] public int Priority { get; init; } = 3;
        }

        """;

    private const string OptionsAttribute = ", Summary = \"A sample.\", Options = typeof(SampleOptions), DomainOptions = typeof(SampleDomainOptions)";

    private static readonly SchedulableVcpu Vcpu = new(new SchedulableDomain(new DomainId(1)));

    private PluginForge _forge = null!;
    private ServiceProvider _noServices = null!;

    [SetUp]
    public void MakeFolder()
    {
        _forge = new PluginForge();
        _noServices = new ServiceCollection().BuildServiceProvider();
    }

    [TearDown]
    public void RemoveFolder()
    {
        _noServices.Dispose();
        _forge.Dispose();
    }

    [Test]
    public void A_plugin_is_found_by_name_and_makes_what_its_contract_says()
    {
        string path = _forge.Plugin("Sample.Plugin", PluginForge.Scheduler("sample", "\"here\""));
        using LoadedPlugin plugin = _forge.Catalog.Load("sample", PluginKind.Scheduler);
        Assert.That(plugin.Info.Path, Is.EqualTo(path));
        Assert.That(plugin.Create<IScheduler>(null, _noServices).Describe(Vcpu), Is.EqualTo("here"));
    }

    [Test]
    public void A_plugin_is_found_by_a_relative_path()
    {
        string path = _forge.Plugin("Sample", PluginForge.Scheduler("sample"));
        using LoadedPlugin plugin = new PluginCatalog([]).Load(Path.GetRelativePath(Environment.CurrentDirectory, path), PluginKind.Scheduler);
        Assert.That(plugin.Info.Path, Is.EqualTo(path));
    }

    [Test]
    public void A_plugin_is_described_with_its_options()
    {
        string path = _forge.Plugin("Sample", PluginForge.Scheduler("sample", "options.ToString()", "SampleOptions options", OptionsAttribute) + OptionsSource);
        PluginInfo info = _forge.Catalog.List().Single();
        Assert.Multiple(() =>
        {
            Assert.That((info.Kind, info.Name, info.Version, info.Summary, info.SdkVersion, info.Path), Is.EqualTo((PluginKind.Scheduler, "sample", "1.2.3", "A sample.", $"{SdkVersion.Major}.{SdkVersion.Minor}", path)));
            Assert.That(info.Options.Select(option => (option.Name, option.Type, option.Default, option.Min, option.Max)), Is.EqualTo(new[]
            {
                ("slice", OptionType.Duration, "5 ms", "1 ms", (string?)"1 s"),
                ("order", OptionType.Choice, "firstComeFirstServed", null, null),
                ("logSize", OptionType.Size, "1 MiB", "0 B", null),
            }));
            Assert.That(info.Options[1].Choices, Is.EqualTo(new[] { "firstComeFirstServed", "roundRobin" }));
            Assert.That(info.DomainOptions.Single(), Is.EqualTo(new OptionInfo("priority", OptionType.Integer, "", "3", null, null, "Lower runs first.", info.DomainOptions[0].Choices)));
        });
    }

    [Test]
    public void The_constructor_gets_bound_options_and_services()
    {
        _forge.Plugin(
            "Sample",
            PluginForge.Scheduler("sample", "options.Slice + \" \" + options.Order + \" \" + uri.Host", "Uri uri, SampleOptions options", OptionsAttribute) + OptionsSource);
        using ServiceProvider services = new ServiceCollection().AddSingleton(new Uri("http://service/")).BuildServiceProvider();
        using LoadedPlugin plugin = _forge.Catalog.Load("sample", PluginKind.Scheduler);
        List<ConfigurationProblem> problems = [];
        object? options = OptionBinder.Bind(plugin.OptionsType, JsonDocument.Parse("""{ "slice": "20 ms", "order": "round-robin" }""").RootElement, "scheduler.options", problems);
        Assert.That(problems, Is.Empty);
        Assert.That(plugin.Create<IScheduler>(options, services).Describe(Vcpu), Is.EqualTo("20 ms RoundRobin service").Or.EqualTo("20000 µs RoundRobin service"));
        Assert.That(plugin.Create<IScheduler>(null, services).Describe(Vcpu), Does.EndWith("FirstComeFirstServed service"), "no options means the defaults");
    }

    /// <summary>A thread that runs guests could not open it later.</summary>
    [Test]
    public void What_a_plugin_refers_to_is_loaded_with_it()
    {
        string last = PluginForge.Compile(Path.Combine(_forge.Folder, "Needy", "Last.dll"), "public static class Last { public static string Word => \"word\"; }");
        string helper = PluginForge.Compile(
            Path.Combine(_forge.Folder, "Needy", "Helper.dll"), "public static class Helper { public static string Word => Last.Word; }", MetadataReference.CreateFromFile(last));
        _forge.Plugin("Needy", PluginForge.Scheduler("needy", "Helper.Word"), MetadataReference.CreateFromFile(helper));
        using LoadedPlugin plugin = _forge.Catalog.Load("needy", PluginKind.Scheduler);
        Assert.That(((AssemblyLoadContext)plugin.Lifetime.Target!).Assemblies.Select(assembly => assembly.GetName().Name), Is.SupersetOf(new[] { "Helper", "Last" }));
    }

    [Test]
    public void Each_plugin_gets_its_own_version_of_a_dependency()
    {
        foreach (string version in new[] { "1.0.0.0", "2.0.0.0" })
        {
            string name = "User" + version[0];
            string library = PluginForge.Compile(
                Path.Combine(_forge.Folder, name, "Greeter.dll"),
                $"[assembly: System.Reflection.AssemblyVersion(\"{version}\")] public static class Greeter {{ public static string Word => \"greeter {version}\"; }}");
            _forge.Plugin(name, PluginForge.Scheduler("user" + version[0], "Greeter.Word"), MetadataReference.CreateFromFile(library));
        }

        using LoadedPlugin first = _forge.Catalog.Load("user1", PluginKind.Scheduler);
        using LoadedPlugin second = _forge.Catalog.Load("user2", PluginKind.Scheduler);
        Assert.That(first.Create<IScheduler>(null, _noServices).Describe(Vcpu), Is.EqualTo("greeter 1.0.0.0"));
        Assert.That(second.Create<IScheduler>(null, _noServices).Describe(Vcpu), Is.EqualTo("greeter 2.0.0.0"));
    }

    [Test]
    public void A_copy_of_the_SDK_beside_the_plugin_does_no_harm()
    {
        _forge.Plugin("Sample", PluginForge.Scheduler("sample", "\"shared\""));
        File.Copy(typeof(Nanoseconds).Assembly.Location, Path.Combine(_forge.Folder, "Sample", "Tessera.Sdk.dll"));
        using LoadedPlugin plugin = _forge.Catalog.Load("sample", PluginKind.Scheduler);
        Assert.That(plugin.Create<IScheduler>(null, _noServices).Describe(Vcpu), Is.EqualTo("shared"));
    }

    [Test]
    public void Plugins_of_different_kinds_may_share_a_name()
    {
        _forge.Plugin("One", PluginForge.Scheduler("same"));
        string path = _forge.Plugin("Two", """
            [Plugin("same", PluginKind.MemoryPolicy, "1.0.0")]
            public sealed class Policy : IMemoryPolicy
            {
                public long Admit(in MemoryRequest request, in MemoryBudget budget) => request.Frames;
                public long Grant(in DomainMemoryFacts domain, long asked, in MemoryBudget budget) => 0;
            }
            """);
        using LoadedPlugin plugin = _forge.Catalog.Load("same", PluginKind.MemoryPolicy);
        Assert.That(plugin.Info.Path, Is.EqualTo(path));
    }

    [Test]
    public void A_list_shows_what_works_and_tells_what_does_not()
    {
        _forge.Plugin("B", PluginForge.Scheduler("b"));
        _forge.Plugin("A", PluginForge.Scheduler("a"));
        _forge.Plugin("A2", PluginForge.Scheduler("a"));
        _forge.Plugin("Fake", "[Plugin(\"fake\", PluginKind.Scheduler, \"1.0.0\")] public class Fake;");
        Directory.CreateDirectory(Path.Combine(_forge.Folder, "Empty"));
        PluginCatalog catalog = new([_forge.Folder, _forge.Folder + "/nowhere"]);
        Assert.That(catalog.List(out IReadOnlyList<PluginException> problems).Select(plugin => plugin.Name), Is.EqualTo(new[] { "a", "a", "b" }));
        string[] messages = [.. problems.Select(problem => problem.Message)];
        Assert.That(messages, Has.Length.EqualTo(4));
        Assert.That(messages, Has.Some.Contains("Empty/Empty.dll does not exist"));
        Assert.That(messages, Has.Some.Contains("nowhere does not exist"));
        Assert.That(messages, Has.Some.Contains("does not implement"));
        Assert.That(messages, Has.Some.Contains("2 plugins of kind scheduler have the name \"a\""));
    }

    [Test]
    public void Looking_at_a_plugin_runs_none_of_its_code()
    {
        string mark = Path.Combine(_forge.Folder, "mark");
        _forge.Plugin("Eager", PluginForge.Scheduler("eager") + $$"""
            internal static class Start
            {
                [System.Runtime.CompilerServices.ModuleInitializer]
                internal static void Run() => System.IO.File.WriteAllText("{{mark}}", "ran");
            }
            """);
        Assert.Throws<PluginException>(() => _forge.Catalog.Load("other", PluginKind.Scheduler));
        Assert.That(File.Exists(mark), Is.False);
    }

    [Test]
    public void A_hundred_loads_leave_nothing_behind()
    {
        _forge.Plugin("Sample", PluginForge.Scheduler("sample", "options.ToString()", "SampleOptions options", OptionsAttribute) + OptionsSource);
        WeakReference[] lifetimes = [.. Enumerable.Range(0, 100).Select(_ => LoadUseAndUnload(_forge.Catalog))];
        AssertGone(lifetimes);
    }

    [Test]
    public void A_dll_that_is_built_anew_while_it_is_in_use_is_what_the_next_load_gives()
    {
        string path = _forge.Plugin("Sample", PluginForge.Scheduler("sample", "\"first\""));
        using LoadedPlugin first = new PluginCatalog([]).Load(path, PluginKind.Scheduler);
        IScheduler old = first.Create<IScheduler>(null, _noServices);
        _forge.Plugin("Sample", PluginForge.Scheduler("sample", "\"second\"", version: "1.2.4"));
        using LoadedPlugin second = new PluginCatalog([]).Load(path, PluginKind.Scheduler);
        using LoadedPlugin third = _forge.Catalog.Load("sample", PluginKind.Scheduler);
        Assert.Multiple(() =>
        {
            Assert.That(second.Create<IScheduler>(null, _noServices).Describe(Vcpu), Is.EqualTo("second"));
            Assert.That(third.Create<IScheduler>(null, _noServices).Describe(Vcpu), Is.EqualTo("second"));
            Assert.That(second.Info.Version, Is.EqualTo("1.2.4"));
            Assert.That(old.Describe(Vcpu), Is.EqualTo("first"));
        });
    }

    [Test]
    public void The_library_of_a_plugin_may_be_built_anew_as_well()
    {
        string library = Path.Combine(_forge.Folder, "Sample", "Words.dll");
        PluginForge.Compile(library, "public static class Words { public static string Word => \"first\"; }");
        string path = _forge.Plugin("Sample", PluginForge.Scheduler("sample", "Words.Word"), MetadataReference.CreateFromFile(library));
        using LoadedPlugin first = new PluginCatalog([]).Load(path, PluginKind.Scheduler);
        Assert.That(first.Create<IScheduler>(null, _noServices).Describe(Vcpu), Is.EqualTo("first"));
        PluginForge.Compile(library, "public static class Words { public static string Word => \"second\"; }");
        using LoadedPlugin second = new PluginCatalog([]).Load(path, PluginKind.Scheduler);
        Assert.That(second.Create<IScheduler>(null, _noServices).Describe(Vcpu), Is.EqualTo("second"));
    }

    [Test]
    public void What_a_plugin_throws_names_its_source_line()
    {
        _forge.Plugin("Sample", PluginForge.Scheduler("sample", "throw new InvalidOperationException(\"no idea\")"));
        using LoadedPlugin plugin = _forge.Catalog.Load("sample", PluginKind.Scheduler);
        IScheduler scheduler = plugin.Create<IScheduler>(null, _noServices);
        Assert.That(Assert.Throws<InvalidOperationException>(() => scheduler.Describe(Vcpu))!.StackTrace, Does.Contain("Sample.cs:line"));
    }

    [Test]
    public void Listing_leaves_nothing_loaded()
    {
        _forge.Plugin("Listed", PluginForge.Scheduler("listed"));
        _forge.Catalog.List();
        for (int attempt = 0; attempt < 20 && IsLoaded(); attempt++)
            Collect();
        Assert.That(IsLoaded(), Is.False);

        [MethodImpl(MethodImplOptions.NoInlining)]
        static bool IsLoaded() => System.Runtime.Loader.AssemblyLoadContext.All.Any(context => context.Name == "Listed");
    }

    [Test]
    public void An_instance_outlives_the_unload_and_the_handle_does_not()
    {
        _forge.Plugin("Sample", PluginForge.Scheduler("sample", "\"still here\""));
        LoadedPlugin plugin = _forge.Catalog.Load("sample", PluginKind.Scheduler);
        IScheduler scheduler = plugin.Create<IScheduler>(null, _noServices);
        plugin.Dispose();
        plugin.Dispose();
        Collect();
        Assert.That(scheduler.Describe(Vcpu), Is.EqualTo("still here"));
        Assert.That(plugin.Lifetime.IsAlive, Is.True);
        Assert.That(plugin.Info.Name, Is.EqualTo("sample"));
        Assert.Throws<ObjectDisposedException>(() => plugin.Create<IScheduler>(null, _noServices));
    }

    [Test]
    public void The_usual_folders_come_in_order_and_only_named_ones_need_not_exist()
    {
        string application = Path.Combine(_forge.Folder, "cli");
        string builtIn = Directory.CreateDirectory(Path.Combine(_forge.Folder, "plugins")).FullName;
        string own = Directory.CreateDirectory(Path.Combine(_forge.Folder, "home", ".local", "share", "tessera", "plugins")).FullName;
        Dictionary<string, string> environment = new() { ["TESSERA_PLUGINS"] = "/one/:/two::/one", ["HOME"] = Path.Combine(_forge.Folder, "home") };
        Directory.CreateDirectory(application);
        Assert.That(PluginFolders.Default(application, environment.GetValueOrDefault), Is.EqualTo(new[] { builtIn, "/one", "/two", own }));
        Assert.That(PluginFolders.Default(Path.Combine(own, "x"), _ => null), Is.Empty);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static WeakReference LoadUseAndUnload(PluginCatalog catalog)
    {
        using LoadedPlugin plugin = catalog.Load("sample", PluginKind.Scheduler);
        object? options = OptionBinder.Bind(plugin.OptionsType, JsonDocument.Parse("""{ "order": "roundRobin" }""").RootElement, "", []);
        using ServiceProvider services = new ServiceCollection().BuildServiceProvider();
        Assert.That(plugin.Create<IScheduler>(options, services).Describe(Vcpu).Contains("RoundRobin", StringComparison.Ordinal), Is.True);
        return plugin.Lifetime;
    }

    private static void AssertGone(WeakReference[] lifetimes)
    {
        for (int attempt = 0; attempt < 20 && lifetimes.Any(lifetime => lifetime.IsAlive); attempt++)
            Collect();
        Assert.That(lifetimes.Count(lifetime => lifetime.IsAlive), Is.Zero);
    }

    private static void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
    }
}
