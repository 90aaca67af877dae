using System.Reflection;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting.Tests;

/// <summary>
/// What the SDK offers is written down for its version: an addition takes a new minor version, or a host would let in a plugin that needs what it has not
/// (docs/plugins.md). TESSERA_SDK_SURFACE=write writes it down.
/// </summary>
internal sealed class SdkSurfaceTests
{
    private const BindingFlags Own = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    /// <summary>The source tree these tests were built from.</summary>
    public static string Repository { get; } = FindRepository();

    [Test]
    public void What_the_SDK_offers_is_what_is_written_down_for_its_version()
    {
        string file = Path.Combine(Folder(), $"sdk-{SdkVersion.Major}.{SdkVersion.Minor}.txt");
        string[] offered = [.. typeof(SdkVersion).Assembly.GetExportedTypes().SelectMany(Lines).Order(StringComparer.Ordinal)];
        if (Environment.GetEnvironmentVariable("TESSERA_SDK_SURFACE") == "write")
            File.WriteAllLines(file, offered);
        Assert.That(file, Does.Exist, "SdkVersion has grown: write down what this version offers.");
        string[] written = File.ReadAllLines(file);
        Assert.That(
            offered.Except(written).Select(line => "+ " + line).Concat(written.Except(offered).Select(line => "- " + line)), Is.Empty,
            "An addition takes the next SdkVersion.Minor (and AssemblyVersion, and a line in docs/plugins.md), a change or loss the next Major.");
    }

    [Test]
    public void What_every_minor_version_offered_is_still_there()
    {
        string[] offered = [.. typeof(SdkVersion).Assembly.GetExportedTypes().SelectMany(Lines)];
        Assert.Multiple(() =>
        {
            for (int minor = 0; minor <= SdkVersion.Minor; minor++)
                Assert.That(File.ReadAllLines(Path.Combine(Folder(), $"sdk-{SdkVersion.Major}.{minor}.txt")).Except(offered), Is.Empty, $"version {SdkVersion.Major}.{minor}");
        });
    }

    private static IEnumerable<string> Lines(Type type) =>
    [
        $"{type.FullName}: {type.BaseType?.FullName} {string.Join(' ', type.GetInterfaces().Where(contract => contract.FullName?.StartsWith("Tessera", StringComparison.Ordinal) == true).Select(contract => contract.FullName).Order())}".TrimEnd(),
        .. type.GetMembers(Own).Where(IsOffered).Select(member => $"{type.FullName}.{(member is Type ? "nested " + member.Name : member)}{Value(member)}"),
    ];

    private static bool IsOffered(MemberInfo member) => member switch
    {
        MethodBase method => method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly,
        FieldInfo field => field.IsPublic || field.IsFamily || field.IsFamilyOrAssembly,
        PropertyInfo => false, // by its accessors
        EventInfo => false,
        Type nested => nested.IsNestedPublic || nested.IsNestedFamily,
        _ => true,
    };

    private static string Value(MemberInfo member) =>
        member is FieldInfo { IsLiteral: true } field && field.DeclaringType != typeof(SdkVersion) ? $" = {field.GetRawConstantValue()}" : "";

    private static string Folder() => Path.Combine(Repository, "tests", "Tessera.Hosting.Tests");

    private static string FindRepository()
    {
        string folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Tessera.slnx")))
            folder = Path.GetDirectoryName(folder)!;
        return folder;
    }
}
