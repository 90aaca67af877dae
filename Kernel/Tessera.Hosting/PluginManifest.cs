using System.Reflection;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text.RegularExpressions;
using Tessera.Common;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>What a plugin DLL says of itself, read from its metadata: no code of it is loaded, so a broken or foreign DLL can do no harm here.</summary>
internal sealed partial record PluginManifest
{
    private const string AttributeNamespace = "Tessera.Sdk.Plugins";

    public required string Path { get; init; }

    public required string TypeName { get; init; }

    public required string Name { get; init; }

    public required PluginKind Kind { get; init; }

    public required string Version { get; init; }

    public required string Summary { get; init; }

    public required Version Sdk { get; init; }

    public required IReadOnlyList<AssemblyName> References { get; init; }

    /// <exception cref="PluginException">Not there, not readable, not .NET, another SDK version, not exactly one plugin class, or a bad description.</exception>
    public static PluginManifest Read(string path) => Read(path, out _);

    /// <summary>Reads the description and answers the very bytes it was read from: a build may replace the file at any moment.</summary>
    public static PluginManifest Read(string path, out byte[] file)
    {
        path = System.IO.Path.GetFullPath(path);
        if (Directory.Exists(path))
            throw new PluginException($"{path} is a folder.", $"Name the plugin's DLL in it, such as {System.IO.Path.Combine(path, System.IO.Path.GetFileName(path) + ".dll")}.");
        if (!File.Exists(path))
            throw new PluginException($"{path} does not exist.", "Check the path, or build the plugin first.");
        try
        {
            file = OrdinaryFile.Read(path);
            using PEReader image = new(new MemoryStream(file, writable: false));
            return image.HasMetadata ? Read(path, image.GetMetadataReader()) : throw NotManaged(path, null);
        }
        catch (BadImageFormatException exception)
        {
            throw NotManaged(path, exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw new PluginException($"{path} cannot be read: {exception.Message}", "Check the file and its permissions.", exception);
        }
    }

    private static PluginException NotManaged(string path, Exception? inner) =>
        new($"{path} is not a .NET assembly.", "Name the DLL that `dotnet build` made of the plugin's project.", inner);

    private static PluginManifest Read(string path, MetadataReader metadata)
    {
        if (!metadata.IsAssembly)
            throw NotManaged(path, null);
        AssemblyName[] references = [.. metadata.AssemblyReferences.Select(handle => metadata.GetAssemblyReference(handle).GetAssemblyName())];
        AssemblyName? sdk = references.FirstOrDefault(reference => PluginLoadContext.IsSdk(reference.Name));
        if (sdk is null)
        {
            throw new PluginException(
                $"{path} has no plugin class: it does not even reference Tessera.Sdk.",
                "Is it the plugin's own DLL, and not one of its dependencies?");
        }

        CheckSdk(path, sdk.Version ?? new Version(0, 0));
        List<(string Type, CustomAttributeValue<string> Attribute)> found = FindPlugins(metadata);
        if (found.Count == 0)
            throw new PluginException($"{path} has no plugin class.", "Mark the class that implements the contract with [Plugin(name, kind, version)].");
        if (found.Count > 1)
        {
            throw new PluginException(
                $"{path} has {found.Count} plugin classes: {string.Join(", ", found.Select(plugin => plugin.Type).Order(StringComparer.Ordinal))}.",
                "One assembly is one plugin: leave [Plugin] on one of them, and give the others a project each.");
        }

        (string type, CustomAttributeValue<string> attribute) = found[0];
        PluginManifest manifest = new()
        {
            Path = path,
            TypeName = type,
            Name = attribute.FixedArguments[0].Value as string ?? "",
            Kind = (PluginKind)(int)attribute.FixedArguments[1].Value!,
            Version = attribute.FixedArguments[2].Value as string ?? "",
            Summary = attribute.NamedArguments.FirstOrDefault(argument => argument.Name == nameof(PluginAttribute.Summary)).Value as string ?? "",
            Sdk = sdk.Version!,
            References = references,
        };
        CheckDescription(manifest);
        return manifest;
    }

    private static void CheckSdk(string path, Version built)
    {
        string ours = $"{SdkVersion.Major}.{SdkVersion.Minor}";
        if (built.Major != SdkVersion.Major)
        {
            throw new PluginException(
                $"{path} was built against Tessera.Sdk {built.ToString(2)}, and this Tessera has {ours}: the contracts differ.",
                built.Major < SdkVersion.Major
                    ? $"Rebuild the plugin against Tessera.Sdk {ours}; docs/moving-to-{SdkVersion.Major}.md says what to change."
                    : $"Use a Tessera with SDK {built.Major}, or rebuild the plugin against {ours}.");
        }

        if (built.Minor > SdkVersion.Minor)
        {
            throw new PluginException(
                $"{path} was built against Tessera.Sdk {built.ToString(2)}, and this Tessera has only {ours}.",
                $"Update Tessera, or rebuild the plugin against Tessera.Sdk {ours}.");
        }
    }

    private static void CheckDescription(PluginManifest manifest)
    {
        if (!NamePattern().IsMatch(manifest.Name))
            throw new PluginException($"{manifest.Path}: the plugin name \"{manifest.Name}\" of {manifest.TypeName} is not usable.", "Names are lower-case letters, digits and single dashes, such as \"my-scheduler\".");
        if (!Enum.IsDefined(manifest.Kind))
            throw new PluginException($"{manifest.Path}: {manifest.TypeName} has the unknown plugin kind {(int)manifest.Kind}.", "Use a member of PluginKind.");
        if (!SemVerPattern().IsMatch(manifest.Version))
            throw new PluginException($"{manifest.Path}: the version \"{manifest.Version}\" of {manifest.TypeName} is not SemVer.", "Write major.minor.patch, such as \"1.0.0\".");
    }

    private static List<(string Type, CustomAttributeValue<string> Attribute)> FindPlugins(MetadataReader metadata)
    {
        List<(string, CustomAttributeValue<string>)> found = [];
        foreach (TypeDefinitionHandle handle in metadata.TypeDefinitions)
        {
            foreach (CustomAttributeHandle attributeHandle in metadata.GetTypeDefinition(handle).GetCustomAttributes())
            {
                CustomAttribute attribute = metadata.GetCustomAttribute(attributeHandle);
                if (IsPluginAttribute(metadata, attribute))
                    found.Add((FullName(metadata, handle), attribute.DecodeValue(new AttributeTypes())));
            }
        }

        return found;
    }

    private static bool IsPluginAttribute(MetadataReader metadata, CustomAttribute attribute)
    {
        if (attribute.Constructor.Kind != HandleKind.MemberReference)
            return false;
        EntityHandle parent = metadata.GetMemberReference((MemberReferenceHandle)attribute.Constructor).Parent;
        if (parent.Kind != HandleKind.TypeReference)
            return false;
        TypeReference type = metadata.GetTypeReference((TypeReferenceHandle)parent);
        return metadata.StringComparer.Equals(type.Name, nameof(PluginAttribute)) && metadata.StringComparer.Equals(type.Namespace, AttributeNamespace);
    }

    private static string FullName(MetadataReader metadata, TypeDefinitionHandle handle)
    {
        TypeDefinition type = metadata.GetTypeDefinition(handle);
        string name = metadata.GetString(type.Name);
        if (type.IsNested)
            return $"{FullName(metadata, type.GetDeclaringType())}+{name}";
        return type.Namespace.IsNil ? name : $"{metadata.GetString(type.Namespace)}.{name}";
    }

    [GeneratedRegex("^[a-z0-9]+(-[a-z0-9]+)*$")]
    private static partial Regex NamePattern();

    [GeneratedRegex(@"^\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]+)?$")]
    private static partial Regex SemVerPattern();

    /// <summary>The attribute's argument types; the only enum among them is PluginKind, an int.</summary>
    private sealed class AttributeTypes : ICustomAttributeTypeProvider<string>
    {
        public string GetPrimitiveType(PrimitiveTypeCode typeCode) => typeCode.ToString();

        public string GetSystemType() => "System.Type";

        public string GetSZArrayType(string elementType) => elementType + "[]";

        public string GetTypeFromDefinition(MetadataReader reader, TypeDefinitionHandle handle, byte rawTypeKind) => FullName(reader, handle);

        public string GetTypeFromReference(MetadataReader reader, TypeReferenceHandle handle, byte rawTypeKind) => reader.GetString(reader.GetTypeReference(handle).Name);

        public string GetTypeFromSerializedName(string name) => name;

        public PrimitiveTypeCode GetUnderlyingEnumType(string type) => PrimitiveTypeCode.Int32;

        public bool IsSystemType(string type) => type == "System.Type";
    }
}
