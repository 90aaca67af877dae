namespace Tessera.Plugins.Cpu.Software;

/// <summary>Numbers of exceptions.</summary>
internal static class Vectors
{
    public const byte DivideError = 0;
    public const byte Debug = 1;
    public const byte Breakpoint = 3;
    public const byte Overflow = 4;
    public const byte BoundRange = 5;
    public const byte InvalidOpcode = 6;
    public const byte DeviceNotAvailable = 7;
    public const byte SegmentNotPresent = 11;
    public const byte StackFault = 12;
    public const byte GeneralProtection = 13;
    public const byte PageFault = 14;
    public const byte X87Error = 16;
    public const byte VectorError = 19;
}
