using Microsoft.CodeAnalysis;
using Microsoft.Extensions.DependencyInjection;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Plugins;
using Tessera.Sdk.Scheduling;

namespace Tessera.Hosting.Tests;

/// <summary>Each way in which a plugin can be wrong, and what the user reads.</summary>
internal sealed class PluginErrorTests
{
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
    public void A_file_that_does_not_exist_is_named() => LoadFails(_forge.Folder + "/none.dll", _forge.Folder + "/none.dll does not exist", "build the plugin first");

    [Test]
    public void A_folder_in_place_of_a_DLL_is_told_apart() => LoadFails(_forge.Folder + "/", "is a folder", "Name the plugin's DLL");

    [Test]
    public void A_file_that_is_no_assembly_is_named()
    {
        string path = Path.Combine(_forge.Folder, "text.dll");
        File.WriteAllText(path, "This is not an assembly, only text that is long enough to be looked at.");
        LoadFails(path, path, "is not a .NET assembly", "dotnet build");
    }

    [Test]
    public void An_empty_file_is_no_assembly()
    {
        string path = Path.Combine(_forge.Folder, "empty.dll");
        File.WriteAllBytes(path, []);
        LoadFails(path, "is not a .NET assembly");
    }

    [Test]
    public void An_unknown_name_lists_the_known_ones_and_suggests_the_nearest()
    {
        _forge.Plugin("Alpha", PluginForge.Scheduler("alpha-fair"));
        _forge.Plugin("Beta", PluginForge.Scheduler("beta"));
        LoadFails("alfa-fair", "no scheduler plugin \"alfa-fair\"", "alpha-fair, beta", "Did you mean \"alpha-fair\"?", _forge.Folder, "TESSERA_PLUGINS");
    }

    [Test]
    public void An_unknown_name_tells_of_plugins_that_could_not_be_read()
    {
        Directory.CreateDirectory(Path.Combine(_forge.Folder, "Broken"));
        LoadFails("broken", "none is installed", "Not usable", Path.Combine(_forge.Folder, "Broken", "Broken.dll"));
    }

    [TestCase("3.0.0.0", "against Tessera.Sdk 3.0", "the contracts differ", "Use a Tessera with SDK 3")]
    [TestCase("1.2.0.0", "against Tessera.Sdk 1.2", "the contracts differ", "Rebuild the plugin against Tessera.Sdk 2.0", "docs/moving-to-2.md")]
    [TestCase("2.999.0.0", "against Tessera.Sdk 2.999", "has only 2.0", "Update Tessera")]
    public void Another_SDK_version_is_refused(string version, params string[] parts)
    {
        string sdk = PluginForge.Compile(Path.Combine(_forge.Folder, "sdk", "Tessera.Sdk.dll"), $$"""
            [assembly: System.Reflection.AssemblyVersion("{{version}}")]
            namespace Tessera.Sdk.Plugins;
            public enum PluginKind { Scheduler }
            public sealed class PluginAttribute(string name, PluginKind kind, string version) : System.Attribute;
            """);
        string path = PluginForge.Compile(
            Path.Combine(_forge.Folder, "other.dll"),
            "[Tessera.Sdk.Plugins.Plugin(\"other\", Tessera.Sdk.Plugins.PluginKind.Scheduler, \"1.0.0\")] public class Other;",
            MetadataReference.CreateFromFile(sdk));
        LoadFails(path, [path, .. parts]);
    }

    [Test]
    public void The_page_that_says_how_to_move_a_plugin_is_there() =>
        Assert.That(Path.Combine(SdkSurfaceTests.Repository, "docs", $"moving-to-{SdkVersion.Major}.md"), Does.Exist);

    [Test]
    public void The_version_that_plugins_record_is_the_one_in_the_code() =>
        Assert.That(typeof(SdkVersion).Assembly.GetName().Version, Is.EqualTo(new Version(SdkVersion.Major, SdkVersion.Minor, 0, 0)));

    [Test]
    public void A_missing_dependency_is_named()
    {
        string library = PluginForge.Compile(Path.Combine(_forge.Folder, "away", "Helper.dll"), "public static class Helper { public static string Word => \"word\"; }");
        string path = _forge.Plugin("Needy", PluginForge.Scheduler("needy", "Helper.Word"), MetadataReference.CreateFromFile(library));
        LoadFails("needy", path, "needs Helper.dll", "Copy the whole output folder");
    }

    [Test]
    public void A_missing_dependency_of_a_dependency_is_named()
    {
        string inner = PluginForge.Compile(Path.Combine(_forge.Folder, "away", "Inner.dll"), "public static class Inner { public static string Word => \"word\"; }");
        string outer = PluginForge.Compile(
            Path.Combine(_forge.Folder, "Needy", "Outer.dll"),
            "public class Outer { public string Word { get; } = Inner.Word; }",
            MetadataReference.CreateFromFile(inner));
        _forge.Plugin("Needy", PluginForge.Scheduler("needy", "_outer.Word").Replace("{\n", "{\n    private readonly Outer _outer = new();\n", StringComparison.Ordinal), MetadataReference.CreateFromFile(outer));
        CreateFails("needy", null, "needs Inner.dll", "Copy the whole output folder");
    }

    [Test]
    public void The_hosts_own_libraries_are_not_lent_to_plugins()
    {
        _forge.Plugin("Borrower", PluginForge.Scheduler("borrower", "typeof(FsCheck.Config).Name"), MetadataReference.CreateFromFile(typeof(FsCheck.Config).Assembly.Location));
        LoadFails("borrower", "needs FsCheck.dll");
    }

    [Test]
    public void Nor_are_they_lent_to_the_libraries_of_plugins()
    {
        string outer = PluginForge.Compile(
            Path.Combine(_forge.Folder, "Borrower", "Outer.dll"),
            "public class Outer { public string Word { get; } = typeof(FsCheck.Config).Name; }",
            MetadataReference.CreateFromFile(typeof(FsCheck.Config).Assembly.Location));
        _forge.Plugin("Borrower", PluginForge.Scheduler("borrower", "new Outer().Word"), MetadataReference.CreateFromFile(outer));
        LoadFails("borrower", "needs FsCheck.dll", "Copy the whole output folder");
    }

    [Test]
    public void A_DLL_that_does_not_know_the_SDK_has_no_plugin_class()
    {
        string path = PluginForge.Compile(Path.Combine(_forge.Folder, "plain.dll"), "public class Plain;");
        LoadFails(path, path, "has no plugin class", "does not even reference Tessera.Sdk");
    }

    [Test]
    public void A_DLL_without_a_plugin_class_says_so()
    {
        string path = _forge.Plugin("Bare", "public class Bare { public Nanoseconds Time; }");
        LoadFails(path, path, "has no plugin class", "[Plugin(name, kind, version)]");
    }

    [Test]
    public void Two_plugin_classes_are_both_named()
    {
        string path = _forge.Plugin("Pair", PluginForge.Scheduler("one", type: "First") + PluginForge.Scheduler("two", type: "Second"));
        LoadFails(path, path, "2 plugin classes: First, Second", "One assembly is one plugin");
    }

    [Test]
    public void A_plugin_of_another_kind_is_refused_by_name_and_by_path()
    {
        string path = _forge.Plugin("Fair", PluginForge.Scheduler("fair"));
        string[] parts = ["fair", path, "scheduler", "a CPU engine is wanted here", "none is installed"];
        Expect(Assert.Throws<PluginException>(() => _forge.Catalog.Load("fair", PluginKind.CpuEngine)), parts);
        Expect(Assert.Throws<PluginException>(() => _forge.Catalog.Load(path, PluginKind.CpuEngine)), parts);
    }

    [Test]
    public void Two_plugins_of_one_name_are_both_named_and_each_loads_by_its_path()
    {
        string first = _forge.Plugin("First", PluginForge.Scheduler("twin"));
        string second = _forge.Plugin("Second", PluginForge.Scheduler("twin"));
        LoadFails("twin", "2 plugins", "\"twin\"", first, second, "by its path");
        using LoadedPlugin plugin = _forge.Catalog.Load(second, PluginKind.Scheduler);
        Assert.That(plugin.Info.Path, Is.EqualTo(second));
    }

    [Test]
    public void A_plugin_of_any_kind_is_found_by_a_name_that_one_kind_has()
    {
        _forge.Plugin("Fair", PluginForge.Scheduler("fair"));
        using (LoadedPlugin plugin = _forge.Catalog.Load("fair", kind: null))
            Assert.That(plugin.Info.Kind, Is.EqualTo(PluginKind.Scheduler));
        Expect(Assert.Throws<PluginException>(() => _forge.Catalog.Load("fare", kind: null)), ["There is no plugin \"fare\"", "known: fair", "Did you mean \"fair\"?"]);
        _forge.Plugin("Other", "[Plugin(\"fair\", PluginKind.MemoryPolicy, \"1.0.0\")] public class Other;");
        Expect(Assert.Throws<PluginException>(() => _forge.Catalog.Load("fair", kind: null)), ["2 plugins of kind memory policy and scheduler", "by its path"]);
    }

    [Test]
    public void A_class_that_does_not_implement_its_contract_is_refused()
    {
        string path = _forge.Plugin("Fake", "[Plugin(\"fake\", PluginKind.Scheduler, \"1.0.0\")] public class Fake;");
        LoadFails("fake", path, "Fake is marked as a scheduler", "does not implement Tessera.Sdk.Scheduling.IScheduler");
    }

    [Test]
    public void An_abstract_class_is_refused()
    {
        _forge.Plugin("Idea", PluginForge.Scheduler("idea", modifiers: "public abstract"));
        LoadFails("idea", "is abstract or generic", "concrete class");
    }

    [Test]
    public void A_class_with_two_constructors_is_refused()
    {
        _forge.Plugin("Many", PluginForge.Scheduler("many", parameters: "int number").Replace("{\n", "{\n    public Sample() : this(1) { }\n", StringComparison.Ordinal));
        LoadFails("many", "has 2 public constructors", "exactly one");
    }

    [TestCase("Not Good")]
    [TestCase("")]
    [TestCase("-a")]
    public void A_name_that_configurations_could_not_use_is_refused(string name)
    {
        string path = _forge.Plugin("Odd", PluginForge.Scheduler(name));
        LoadFails(path, $"\"{name}\"", "lower-case letters, digits and single dashes");
    }

    [Test]
    public void A_version_that_is_not_SemVer_is_refused()
    {
        string path = _forge.Plugin("Odd", PluginForge.Scheduler("odd", version: "one"));
        LoadFails(path, "the version \"one\"", "major.minor.patch");
    }

    [TestCase("public int Count { get; init; }", "Options.Count has no [Option] attribute")]
    [TestCase("[Option(\"x\")] public float Rate { get; init; }", "has the type System.Single; options are bool, int")]
    [TestCase("[Option(\"x\", Min = \"2\", Max = \"9\")] public int Count { get; init; }", "its default is 0, and must be from 2 to 9")]
    [TestCase("[Option(\"x\", Min = \"2\", Max = \"1\")] public int Count { get; init; } = 2;", "Min 2 is above Max 1")]
    [TestCase("[Option(\"x\", Max = \"much\")] public Nanoseconds Time { get; init; }", "Max \"much\" is not a bound of its type (Duration)")]
    [TestCase("[Option(\"x\", Max = \"b\")] public string Word { get; init; } = \"\";", "Max \"b\" is not a bound of its type (Text)")]
    [TestCase("public Options(int x) { }", "has no public constructor without parameters")]
    public void An_options_record_that_cannot_be_bound_is_its_authors_error(string member, string part)
    {
        string path = _forge.Plugin("Opt", PluginForge.Scheduler("opt", parameters: "Options options", attribute: ", Options = typeof(Options)", description: "options.ToString()") + $"public sealed record Options {{ {member} }}");
        LoadFails("opt", path, part, "docs/plugins.md");
    }

    [Test]
    public void What_a_constructor_throws_is_kept()
    {
        string path = _forge.Plugin("Angry", PluginForge.Scheduler("angry").Replace("{\n", "{\n    private readonly int _x = int.Parse(\"no luck today\");\n", StringComparison.Ordinal));
        PluginException? exception = CreateFails("angry", null, "\"angry\" 1.2.3", path, "constructor of Sample threw", "FormatException", "no luck today");
        Assert.That(exception!.InnerException, Is.TypeOf<FormatException>());
    }

    [Test]
    public void A_missing_file_that_a_constructor_opens_is_not_taken_for_a_missing_dependency()
    {
        _forge.Plugin("Reader", PluginForge.Scheduler("reader").Replace("{\n", "{\n    private readonly string _x = System.IO.File.ReadAllText(\"/nonexistent/file\");\n", StringComparison.Ordinal));
        CreateFails("reader", null, "constructor of Sample threw", "Could not find a part of the path");
    }

    [Test]
    public void An_engine_exception_comes_through_as_it_is()
    {
        _forge.Plugin("Host", PluginForge.Scheduler("host").Replace("{\n", "{\n    private readonly int _x = DateTime.Now.Year > 0 ? throw new Tessera.Sdk.Cpu.EngineException(\"No KVM.\", \"Get some.\") : 0;\n", StringComparison.Ordinal));
        using LoadedPlugin plugin = _forge.Catalog.Load("host", PluginKind.Scheduler);
        Assert.That(Assert.Throws<EngineException>(() => plugin.Create<IScheduler>(null, _noServices))!.Cure, Is.EqualTo("Get some."));
    }

    [Test]
    public void A_service_that_is_not_offered_is_named()
    {
        _forge.Plugin("Want", PluginForge.Scheduler("want", parameters: "System.Text.Encoding encoding", description: "encoding.EncodingName"));
        CreateFails("want", null, "needs System.Text.Encoding encoding", "nor a service offered here");
    }

    [Test]
    public void Options_for_a_plugin_without_any_are_refused()
    {
        _forge.Plugin("Plain", PluginForge.Scheduler("plain"));
        CreateFails("plain", new object(), "has no options", "System.Object", "Leave its options out");
    }

    [Test]
    public void Options_of_another_type_are_refused()
    {
        _forge.Plugin("Opt", PluginForge.Scheduler("opt", parameters: "Options options", attribute: ", Options = typeof(Options)", description: "options.ToString()") + "public sealed record Options;");
        CreateFails("opt", "text", "takes options of type Options", "System.String");
        using LoadedPlugin other = _forge.Catalog.Load("opt", PluginKind.Scheduler);
        CreateFails("opt", Activator.CreateInstance(other.OptionsType!), "was given a Options of another load of the plugin");
    }

    [Test]
    public void A_constructor_that_does_not_take_the_declared_options_is_refused()
    {
        _forge.Plugin("Deaf", PluginForge.Scheduler("deaf", attribute: ", Options = typeof(Options)") + "public sealed record Options;");
        CreateFails("deaf", null, "declares options of type Options", "does not take them");
    }

    [Test]
    public void Asking_for_another_contract_is_refused()
    {
        _forge.Plugin("Plain", PluginForge.Scheduler("plain"));
        using LoadedPlugin plugin = _forge.Catalog.Load("plain", PluginKind.Scheduler);
        Expect(Assert.Throws<PluginException>(() => plugin.Create<ICpuEngine>(null, _noServices)), "is a scheduler", "does not implement Tessera.Sdk.Cpu.ICpuEngine");
    }

    private static void Expect(PluginException? exception, params string[] parts)
    {
        foreach (string part in parts)
            Assert.That(exception!.Message, Does.Contain(part));
        Assert.That(exception!.Message, Does.EndWith(exception.Cure));
    }

    private void LoadFails(string nameOrPath, params string[] parts) => Expect(Assert.Throws<PluginException>(() => _forge.Catalog.Load(nameOrPath, PluginKind.Scheduler)), parts);

    private PluginException? CreateFails(string name, object? options, params string[] parts)
    {
        using LoadedPlugin plugin = _forge.Catalog.Load(name, PluginKind.Scheduler);
        PluginException? exception = Assert.Throws<PluginException>(() => plugin.Create<IScheduler>(options, _noServices));
        Expect(exception, parts);
        return exception;
    }
}
