using Tessera.Kernel.Building;
using Tessera.Kernel.Domains;
using Tessera.Kernel.Snapshots;
using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.Machines;

/// <content>Saving domains, and letting them go on elsewhere.</content>
public sealed partial class Machine
{
    private const int MostPauses = 1000;

    /// <summary>
    /// Writes a snapshot of a domain that is paused, or suspended itself: registers, what each part of the VMM keeps of it, and its memory. A paused one may be resumed afterwards. Not from
    /// a physical CPU's thread.
    /// </summary>
    /// <param name="domain">The domain; nobody resumes it meanwhile.</param>
    /// <param name="stream">Where to; the caller's.</param>
    /// <exception cref="SnapshotException">It cannot be saved as it is: it is neither, has devices (unless it suspended itself), or shares memory with another domain. What was written is no snapshot.</exception>
    /// <exception cref="IOException">The stream failed.</exception>
    public void Save(Domain domain, Stream stream)
    {
        BringToRest(domain);
        lock (domain.Gate)
            new DomainSaver(domain, Engine.Facts).Save(stream);
    }

    /// <summary>
    /// Builds a domain that goes on from a snapshot, of this machine or another; <see cref="Start"/> lets it run. Its time goes on from where it was saved, its wall clock is the host's.
    /// No other domain is built until the stream has been read.
    /// </summary>
    /// <param name="configuration">The one that the saved domain was built from, with a name of its own; what is loaded at boot is not looked at.</param>
    /// <param name="stream">The snapshot; the caller's, at whose end it is afterwards.</param>
    /// <exception cref="SnapshotException">The snapshot is damaged, or does not fit the configuration or this machine's engine.</exception>
    /// <exception cref="DomainBuildException">There can be no such domain.</exception>
    /// <exception cref="EngineException">The host refused something.</exception>
    /// <exception cref="IOException">The stream failed.</exception>
    public Domain Restore(DomainConfiguration configuration, Stream stream) => Create(configuration, stream);

    /// <summary>Waits until the domain is between two instructions: a trap whose delivery is under way is in the engine's hands, and comes out when the vCPU runs on.</summary>
    private void BringToRest(Domain domain)
    {
        for (int pauses = 0; pauses < MostPauses; pauses++)
        {
            if (domain.State is not (DomainState.Paused or DomainState.Suspended))
                throw new SnapshotException($"Domain '{domain.Name}' cannot be saved: it is {domain.State}. Only one that is paused can be, or that suspended itself.");
            WaitUntilItRests(domain);
            if (!domain.Vcpus.Any(vcpu => vcpu.MidDelivery))
                return;
            // It may end meanwhile, which the next round says.
            if (!domain.TrySetState(DomainState.Paused, DomainState.Running))
                continue;
            Tell(domain, vcpu => Core.Resume(vcpu, Clock.Now));
            _ = Thread.Yield();
            if (domain.TrySetState(DomainState.Running, DomainState.Paused))
                Tell(domain, vcpu => Core.Pause(vcpu, Clock.Now));
        }

        throw new SnapshotException($"Domain '{domain.Name}' cannot be saved: whenever it was paused, a trap was being delivered. Save it again.");
    }
}
