namespace Tessera.Architecture.Tests.Floors.Example.Above;

// What the types of the floor below use, each in another way.
internal interface IInterface;

internal abstract class Base;

internal struct Value
{
    public int Number { get; set; }
}

internal sealed class CaughtException : Exception;

[AttributeUsage(AttributeTargets.All)]
internal sealed class MarkAttribute : Attribute;

[AttributeUsage(AttributeTargets.All)]
internal sealed class NameAttribute(Type type) : Attribute
{
    public Type Type { get; } = type;
}

internal static class Tool
{
    public static int Calls;

    public static void Call() => Calls++;
}

internal abstract class UsesWhatIsBelow
{
    public abstract Below.ByNothing Down();
}
