using Tessera.Sdk.Devices;

namespace Tessera.Linux.Tests.Support;

/// <summary>What the plugins of one machine share.</summary>
internal sealed class SharedThings : IMachineScope
{
    private readonly Dictionary<string, object> _shared = [];

    public T Share<T>(string name, Func<T> make)
        where T : class
    {
        lock (_shared)
        {
            if (!_shared.TryGetValue(name, out object? found))
                _shared[name] = found = make();
            return (T)found;
        }
    }
}
