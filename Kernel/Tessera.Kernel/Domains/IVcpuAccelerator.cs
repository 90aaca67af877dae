using Tessera.Kernel.Memory;

namespace Tessera.Kernel.Domains;

/// <summary>
/// What spares a vCPU exits by doing some of the VMM's work inside the guest. It is told of whatever decides what may be done there: modes
/// and roots here, types of frames as an <see cref="IFrameTypeWatcher"/>.
/// </summary>
internal interface IVcpuAccelerator : IFrameTypeWatcher, IDisposable
{
    /// <summary>The vCPU runs next, in the mode and on the root that it has now.</summary>
    void BeforeRun();

    /// <summary>Takes over what was done since <see cref="BeforeRun"/>.</summary>
    /// <returns>False when the domain has ended of it.</returns>
    bool AfterRun();

    /// <summary>The vCPU's exception may be one of the accelerator's own code: it becomes the `syscall` that the guest made.</summary>
    /// <returns>Whether the state is now that of the `syscall`.</returns>
    bool TryRestart();

    /// <summary>The vCPU has another page-table root.</summary>
    /// <param name="userMode">Whether it is the one of user mode.</param>
    void RootChanged(bool userMode);
}
