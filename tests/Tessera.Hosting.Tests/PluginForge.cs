using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Emit;

namespace Tessera.Hosting.Tests;

/// <summary>Compiles plugins from source into a folder of its own, as an outside author's build would.</summary>
internal sealed class PluginForge : IDisposable
{
    /// <summary>The members of a scheduler that does nothing; DESCRIPTION is an expression.</summary>
    private const string SchedulerMembers = """
            public void Attach(ISchedulerMachine machine) { }
            public void Add(SchedulableVcpu vcpu, Nanoseconds now) { }
            public void Remove(SchedulableVcpu vcpu, Nanoseconds now) { }
            public void Wake(SchedulableVcpu vcpu, Nanoseconds now) { }
            public void Sleep(SchedulableVcpu vcpu, Nanoseconds now) { }
            public Decision Schedule(in SchedulingPoint point) => Decision.Idle;
            public string Describe(SchedulableVcpu vcpu) => DESCRIPTION;
        """;

    public const string Usings = """
        using System;
        using Tessera.Sdk;
        using Tessera.Sdk.Memory;
        using Tessera.Sdk.Plugins;
        using Tessera.Sdk.Scheduling;

        """;

    private static readonly MetadataReference[] Runtime =
    [
        .. ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(':')
            .Where(path => Path.GetDirectoryName(path) == Path.GetDirectoryName(typeof(object).Assembly.Location))
            .Select(path => MetadataReference.CreateFromFile(path)),
    ];

    public PluginForge()
    {
        Folder = Directory.CreateTempSubdirectory("tessera-plugins-").FullName;
    }

    /// <summary>The plugin folder.</summary>
    public string Folder { get; }

    public PluginCatalog Catalog => new([Folder]);

    public static MetadataReference Sdk { get; } = MetadataReference.CreateFromFile(typeof(Tessera.Sdk.Nanoseconds).Assembly.Location);

    /// <summary>The source of one scheduler class.</summary>
    public static string Scheduler(
        string name, string description = "\"nothing\"", string parameters = "", string attribute = "", string type = "Sample", string modifiers = "public sealed", string version = "1.2.3") => $$"""
        [Plugin("{{name}}", PluginKind.Scheduler, "{{version}}"{{attribute}})]
        {{modifiers}} class {{type}}({{parameters}}) : IScheduler
        {
        {{SchedulerMembers.Replace("DESCRIPTION", description, StringComparison.Ordinal)}}
        }

        """;

    /// <summary>Compiles FOLDER/name/name.dll and gives its path.</summary>
    public string Plugin(string name, string source, params MetadataReference[] references) =>
        Compile(Path.Combine(Folder, name, name + ".dll"), Usings + source, [Sdk, .. references]);

    /// <summary>Compiles any library.</summary>
    public static string Compile(string path, string source, params MetadataReference[] references)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        CSharpCompilation compilation = Compilation(Path.GetFileNameWithoutExtension(path), source, references);
        using FileStream code = File.Create(path);
        using FileStream symbols = File.Create(Path.ChangeExtension(path, ".pdb"));
        EmitResult result = compilation.Emit(code, symbols, options: new EmitOptions(debugInformationFormat: DebugInformationFormat.PortablePdb));
        Assert.That(result.Success, Is.True, string.Join('\n', result.Diagnostics));
        return path;
    }

    /// <summary>The errors of a plugin's source, by the compiler's numbers.</summary>
    public static IEnumerable<string> Errors(string source) =>
        Compilation("wrong", Usings + source, Sdk).GetDiagnostics().Where(found => found.Severity == DiagnosticSeverity.Error).Select(found => found.Id);

    private static CSharpCompilation Compilation(string name, string source, params MetadataReference[] references) => CSharpCompilation.Create(
        name,
        [CSharpSyntaxTree.ParseText(source, new CSharpParseOptions(LanguageVersion.Preview), name + ".cs", System.Text.Encoding.UTF8)],
        [.. Runtime, .. references],
        new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary, nullableContextOptions: NullableContextOptions.Enable));

    public void Dispose() => Directory.Delete(Folder, recursive: true);
}
