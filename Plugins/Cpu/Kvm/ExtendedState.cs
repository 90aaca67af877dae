using System.Buffers.Binary;
using Tessera.Plugins.Cpu.Kvm.Native;
using Tessera.Sdk.Cpu;
using Tessera.Sdk.Cpu.X64;

namespace Tessera.Plugins.Cpu.Kvm;

/// <summary>A vCPU's x87 and vector state as a whole, by KVM_GET_XSAVE and KVM_SET_XSAVE. Only while the vCPU does not run.</summary>
internal sealed class ExtendedState
{
    private const uint XsaveLeaf = 0xd;
    private const int FirstFurther = 3;
    private const int ComponentBits = 63;

    private readonly VcpuHandle _vcpu;
    private readonly ulong _components;

    /// <summary>The components behind AVX that have a place in KVM's area. In their initial state they are zeros, all that there are.</summary>
    private readonly Further[] _further;

    public ExtendedState(VcpuHandle vcpu)
    {
        _vcpu = vcpu;
        _components = CpuSetup.Xcr0(vcpu.Host) ?? (XsaveArea.X87 | XsaveArea.Sse);
        _further = [.. FurtherOf(vcpu.Host, _components)];
        Bytes = XsaveArea.BytesOf(_components);
        ulong placed = XsaveArea.X87 | XsaveArea.Sse | XsaveArea.Avx;
        foreach (Further component in _further)
        {
            Bytes = Math.Max(Bytes, component.End);
            placed |= component.Bit;
        }

        // One without a place in KVM's area cannot be put in, and is refused as unknown.
        _components &= placed;
    }

    /// <summary>How long a capture is.</summary>
    public int Bytes { get; }

    /// <summary>Takes the state out.</summary>
    public void Capture(Span<byte> area)
    {
        XsaveArea.CheckRoom(area, Bytes);
        KvmXsave image = default;
        _vcpu.Call(KvmCalls.GetXsave, "KVM_GET_XSAVE", ref image);
        ReadOnlySpan<byte> from = image;
        ulong present = XsaveArea.ComponentsOf(from);
        area.Clear();
        Fill(from, present, area);
        ulong more = 0;
        foreach (Further component in _further)
        {
            if ((present & component.Bit) == 0)
                continue;
            component.Of(from).CopyTo(component.Of(area));
            if (component.Of(from).ContainsAnyExcept((byte)0))
                more |= component.Bit;
        }

        XsaveArea.Normalize(area, more);
    }

    /// <summary>Puts a state in.</summary>
    public void Restore(ReadOnlySpan<byte> area)
    {
        XsaveArea.Check(area, _components);
        ulong present = XsaveArea.ComponentsOf(area);
        KvmXsave image = default;
        Span<byte> to = image;
        Fill(area, present, to);
        ulong all = _components & (XsaveArea.X87 | XsaveArea.Sse | XsaveArea.Avx);
        foreach (Further component in _further)
        {
            all |= component.Bit;
            if ((present & component.Bit) == 0)
                continue;
            if (area.Length < component.End)
                throw new ArgumentException($"An XSAVE area with component 0x{component.Bit:x} has at least {component.End} bytes here, this one {area.Length}.", nameof(area));
            component.Of(area).CopyTo(component.Of(to));
        }

        // All are named, so that none stays as it is.
        BinaryPrimitives.WriteUInt64LittleEndian(to[XsaveArea.Header..], all);
        _vcpu.Call(KvmCalls.SetXsave, "KVM_SET_XSAVE", ref image);
    }

    /// <summary>x87, MXCSR, SSE and AVX, the initial values of those that are not present.</summary>
    private static void Fill(ReadOnlySpan<byte> from, ulong present, Span<byte> to)
    {
        if ((present & XsaveArea.X87) != 0)
        {
            from[..XsaveArea.Mxcsr].CopyTo(to);
            from[XsaveArea.X87Registers..XsaveArea.XmmRegisters].CopyTo(to[XsaveArea.X87Registers..]);
        }
        else
        {
            BinaryPrimitives.WriteUInt16LittleEndian(to[XsaveArea.ControlWord..], XsaveArea.InitialControlWord);
        }

        from.Slice(XsaveArea.Mxcsr, sizeof(uint)).CopyTo(to[XsaveArea.Mxcsr..]);
        if ((present & XsaveArea.Sse) != 0)
            from[XsaveArea.XmmRegisters..XsaveArea.Header].CopyTo(to[XsaveArea.XmmRegisters..]);
        if ((present & XsaveArea.Avx) != 0)
            from[XsaveArea.UpperHalves..XsaveArea.AvxEnd].CopyTo(to[XsaveArea.UpperHalves..]);
    }

    private static IEnumerable<Further> FurtherOf(KvmHost host, ulong components)
    {
        for (int bit = FirstFurther; bit < ComponentBits; bit++)
        {
            if ((components >> bit & 1) == 0)
                continue;
            KvmCpuidEntry leaf = host.Leaf(XsaveLeaf, (uint)bit);
            if (leaf.Eax != 0 && leaf.Ebx + leaf.Eax <= KvmXsave.Bytes)
                yield return new Further(1UL << bit, (int)leaf.Ebx, (int)leaf.Eax);
        }
    }

    /// <summary>A component and where it lies in the standard format, which the processor says.</summary>
    private readonly record struct Further(ulong Bit, int Offset, int Length)
    {
        public int End => Offset + Length;

        public Span<byte> Of(Span<byte> area) => area.Slice(Offset, Length);

        public ReadOnlySpan<byte> Of(ReadOnlySpan<byte> area) => area.Slice(Offset, Length);
    }
}
