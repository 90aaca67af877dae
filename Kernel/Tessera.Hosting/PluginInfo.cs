using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>A plugin's description, as `tessera plugins list` shows it. Plain data: holding it does not keep the plugin loaded.</summary>
public sealed record PluginInfo
{
    /// <summary>What it is.</summary>
    public required PluginKind Kind { get; init; }

    /// <summary>The name configurations use.</summary>
    public required string Name { get; init; }

    /// <summary>Its own version, SemVer.</summary>
    public required string Version { get; init; }

    /// <summary>One sentence; empty when its author wrote none.</summary>
    public required string Summary { get; init; }

    /// <summary>The SDK version it was built against, "major.minor".</summary>
    public required string SdkVersion { get; init; }

    /// <summary>The DLL's full path.</summary>
    public required string Path { get; init; }

    /// <summary>Whether a device backend's far end is not part of the machine.</summary>
    public bool ReachesOutside { get; init; }

    /// <summary>Its options; empty for none.</summary>
    public required IReadOnlyList<OptionInfo> Options { get; init; }

    /// <summary>Its per-domain options; empty for none.</summary>
    public required IReadOnlyList<OptionInfo> DomainOptions { get; init; }
}
