namespace Tessera.Sdk.Devices;

/// <summary>
/// What is behind a virtual disk: a file, memory, another backend. One instance serves one disk. The vocabulary is that of Xen's
/// blkif protocol (public/io/blkif.h), which the kernel speaks with the guest; a backend sees checked requests only.
/// </summary>
/// <remarks>
/// <para>The constructor takes the options record and must not touch the storage; <see cref="Open"/> does. A decorating backend takes
/// another <see cref="IBlockBackend"/> in its constructor, which it then owns, opens and disposes.</para>
/// <para>What is stored: a read returns the last completed write of each byte. Requests in flight at the same time have no order between
/// them; where two of them overlap, each sector holds what one of them wrote. Bytes outside a request's range are never changed by it.</para>
/// <para>What is stable: when a flush completes with <see cref="BlockStatus.Ok"/>, everything that completed before the flush was submitted
/// survives the end of this process and, as far as the host's storage keeps its own promises, of the host. Before that, after a crash,
/// each sector holds what it held at the last flush or any one later write to it.</para>
/// </remarks>
public interface IBlockBackend : IDisposable
{
    /// <summary>Opens the storage. Called once, before everything else; may block.</summary>
    /// <param name="access">Whether writes will come.</param>
    /// <returns>What the disk is like; constant from now on.</returns>
    /// <exception cref="BackendException">The storage is missing, locked by another, broken or not what the options say.</exception>
    BlockGeometry Open(BlockAccess access);

    /// <summary>
    /// Begins a request. It ends when somebody calls <see cref="BlockRequest.Complete"/>, exactly once, on any thread and possibly before
    /// this returns. Called from one or several device threads, never from a vCPU's.
    /// </summary>
    /// <remarks>
    /// Must not block on storage or network, must not allocate once warm, and must not throw: errors go into the status. Check the range with
    /// <see cref="BlockGeometry.Check"/> first. The segments are guest memory: the guest may change them meanwhile, so never read a byte twice
    /// and rely on its being the same. After completion neither request nor segments may be touched.
    /// </remarks>
    /// <param name="request">What to do; its owner has called <see cref="BlockRequest.Prepare"/>.</param>
    void Submit(BlockRequest request);

    /// <summary>Why requests wait or end with errors at present, for people: what was tried and what came of it; null when they need not. Any thread.</summary>
    string? Problem => null;

    /// <summary>
    /// What it can do besides, such as <see cref="IGrowingStorage"/>; null when it cannot. Asked after <see cref="Open"/>. A decorating
    /// backend answers by what the one beneath can, and with an object of its own where it must know of it.
    /// </summary>
    /// <typeparam name="T">The interface of that power.</typeparam>
    T? TryGet<T>()
        where T : class => this as T;
}

/// <summary>Whether a disk will be written.</summary>
public enum BlockAccess
{
    /// <summary>Reads and writes; the backend keeps a second writer out.</summary>
    ReadWrite,

    /// <summary>Reads only; others may read too, none may write.</summary>
    ReadOnly,
}

/// <summary>Makes what several instances of a plugin in one machine share: a rate that disks divide among them, one pool of threads.</summary>
/// <remarks>A service that a device plugin's constructor may take. Thread-safe. What was made is disposed, if it can be, with the machine.</remarks>
public interface IMachineScope
{
    /// <summary>The object of this name, made when it is not there yet. Names are the plugin's own: begin them with its name.</summary>
    /// <typeparam name="T">A type of the plugin.</typeparam>
    /// <param name="name">The object's name.</param>
    /// <param name="make">Makes it; must not call back.</param>
    /// <exception cref="InvalidOperationException">The name belongs to an object of another type.</exception>
    T Share<T>(string name, Func<T> make)
        where T : class;
}
