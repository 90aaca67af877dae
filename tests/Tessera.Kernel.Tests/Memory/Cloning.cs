using Tessera.Sdk;
using Tessera.Sdk.Cpu;

namespace Tessera.Kernel.Tests;

/// <summary>What it takes to have a domain go on in another of the same size.</summary>
internal static class Cloning
{
    public static readonly TimeSpan Moment = TimeSpan.FromSeconds(30);

    /// <summary>Between two instructions, not in the middle of a trap's delivery.</summary>
    public static void Pause(TestMachine machine, Domain domain)
    {
        bool paused = machine.WaitFor(
            () =>
            {
                machine.Machine.Pause(domain);
                bool still = SpinWait.SpinUntil(() => !domain.Vcpus[0].IsOnPcpu, Moment);
                if (still && !domain.Vcpus[0].MidDelivery)
                    return true;
                machine.Machine.Resume(domain);
                return false;
            },
            Moment);
        Assert.That(paused, Is.True, $"{domain.Name} could not be paused");
    }

    /// <summary>Copies a frame to a domain that is paused.</summary>
    public static unsafe void CopyFrame(Domain from, Domain to, Mfn frame)
    {
        // SAFETY: a whole frame of a domain that is paused.
        from.Memory.Frame(frame).CopyTo(new Span<byte>(to.Memory.PageForWriting(frame), 4096));
        to.Writes.Written(frame);
    }

    /// <summary>Copies registers and vectors; both are paused.</summary>
    public static void CopyCpu(Domain from, Domain to)
    {
        to.Vcpus[0].Cpu.State = from.Vcpus[0].Cpu.State;
        ICapturesCpu vectors = (ICapturesCpu)from.Vcpus[0].Cpu;
        byte[] area = new byte[vectors.CaptureBytes];
        vectors.Capture(area);
        ((ICapturesCpu)to.Vcpus[0].Cpu).Restore(area);
    }
}
