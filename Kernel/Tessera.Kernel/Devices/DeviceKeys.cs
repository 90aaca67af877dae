using System.Globalization;
using Tessera.Kernel.Store;
using Tessera.Sdk;

namespace Tessera.Kernel.Devices;

/// <summary>The two directories of a split device in the store, as its backend uses them.</summary>
/// <param name="store">The store in the name of domain 0, or a transaction of it.</param>
/// <param name="frontend">The guest.</param>
/// <param name="type">"vbd", "vif".</param>
/// <param name="id">The device's number within its type and guest.</param>
internal sealed class DeviceKeys(StoreClient store, DomainId frontend, string type, int id)
{
    /// <summary>The guest that has the frontend.</summary>
    public DomainId Frontend => frontend;

    /// <summary>The device's number within its type and guest.</summary>
    public int Id => id;

    /// <summary>The frontend's directory, owned by the guest and readable to domain 0.</summary>
    public string FrontendPath { get; } = $"{StorePath.HomeOf(frontend)}/device/{type}/{id}";

    /// <summary>The backend's directory, owned by domain 0 and readable to the guest.</summary>
    public string BackendPath { get; } = $"{StorePath.HomeOf(default)}/backend/{type}/{frontend.Value}/{id}";

    /// <summary>Where the last error stands.</summary>
    public string ErrorPath { get; } = $"{StorePath.HomeOf(default)}/error/backend/{type}/{frontend.Value}/{id}";

    /// <summary>Writes a key of the backend.</summary>
    public void WriteBackend(string key, string value) => store.Write($"{BackendPath}/{key}", value);

    /// <summary>Writes a number as a key of the backend.</summary>
    public void WriteBackend(string key, long value) => WriteBackend(key, value.ToString(CultureInfo.InvariantCulture));

    /// <summary>Writes a key into the frontend's directory.</summary>
    public void WriteFrontend(string key, string value) => store.Write($"{FrontendPath}/{key}", value);

    /// <summary>Reads a key of the frontend; null when there is none.</summary>
    public string? ReadFrontend(string key) => store.Read($"{FrontendPath}/{key}");

    /// <summary>Reads a key of the backend; null when there is none.</summary>
    public string? ReadBackend(string key) => store.Read($"{BackendPath}/{key}");

    /// <summary>Reads a number from a key of the frontend.</summary>
    /// <param name="key">The key.</param>
    /// <param name="least">The least that will do.</param>
    /// <param name="most">The most that will do.</param>
    /// <param name="fallback">What a missing key means; null when it must be there.</param>
    /// <exception cref="DeviceException">Missing, no number, or outside the range.</exception>
    public long ReadFrontendNumber(string key, long least, long most, long? fallback = null)
    {
        string? text = ReadFrontend(key);
        if (text is null && fallback is { } number)
            return number;
        return text is not null && long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long value) && value >= least && value <= most
            ? value
            : throw new DeviceException($"{FrontendPath}/{key} is {(text is null ? "missing" : $"\"{(text.Length > 32 ? text[..32] + "…" : text)}\"")}; it must be a decimal number from {least} to {most}.");
    }
}
