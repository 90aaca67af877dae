using System.Collections.Immutable;
using Tessera.Kernel.Console;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Events;
using Tessera.Kernel.Store;
using Tessera.Sdk;

namespace Tessera.Kernel.Building;

/// <summary>The event channels of a domain's store and console rings.</summary>
internal readonly record struct RingPorts(int Store, int Console);

/// <summary>Joins a domain to its store and its console, whose rings lie in two of its own frames.</summary>
internal static class Rings
{
    /// <summary>Makes both and introduces the domain. The first of its event channels are theirs, with the same numbers in every domain.</summary>
    public static RingPorts Connect(Domain domain, Mfn storeFrame, Mfn consoleFrame, XenStore store, StoreServer server)
    {
        // The backends call back on the channels that they are given; the variables close the circle.
        BackendChannel? storeChannel = null;
        BackendChannel? consoleChannel = null;
        StoreRingPage storePage = new(PageOf(domain, storeFrame));
        StoreConnection connection = new(domain.Id, storePage, store, server, () => storeChannel!.Notify());
        DomainConsole console = new(PageOf(domain, consoleFrame), () => consoleChannel!.Notify());
        storeChannel = domain.Events.Connect(connection.Notified);
        consoleChannel = domain.Events.Connect(console.Notified);
        domain.Store = connection;
        domain.Console = console;
        domain.Rings = (storeFrame, consoleFrame);
        store.Introduce(domain.Id, domain.Name);
        PublishConsole(domain, new StoreClient(store), consoleChannel.Port.Value);
        return new RingPorts(storeChannel.Port.Value, consoleChannel.Port.Value);
    }

    /// <summary>What its balloon driver goes by, as xl writes it, in KiB; who may read it is said by the node above.</summary>
    public static void PublishMemory(Domain domain, XenStore store)
    {
        StoreClient client = new(store);
        client.Write($"{StorePath.HomeOf(domain.Id)}/memory/static-max", $"{domain.Memory.RamFrames * 4}");
        domain.SetTarget(client, domain.AssignedFrames);
    }

    // SAFETY: the page is one of the domain's own frames; console and store connection are closed before its memory goes.
    private static unsafe nint PageOf(Domain domain, Mfn frame)
    {
        domain.WriteAtAnyTime(frame);
        return (nint)domain.Writes.Page(frame);
    }

    /// <summary>The console's keys as xl writes them: domain 0's, for the guest to read.</summary>
    private static void PublishConsole(Domain domain, StoreClient store, int port)
    {
        string console = $"{StorePath.HomeOf(domain.Id)}/console";
        ImmutableArray<StorePermission> permissions = StorePermission.OwnedAndReadBy(new DomainId(0), domain.Id);
        store.MakeDirectory(console);
        store.SetPermissions(console, permissions);
        foreach ((string key, string value) in (ReadOnlySpan<(string, string)>)
            [("ring-ref", $"{domain.Rings.Console.Value}"), ("port", $"{port}"), ("type", "xenconsoled"), ("limit", $"{DomainConsole.HistoryBytes}")])
        {
            store.Write($"{console}/{key}", value);
            store.SetPermissions($"{console}/{key}", permissions);
        }
    }
}
