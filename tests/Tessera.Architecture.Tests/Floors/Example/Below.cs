using Tessera.Architecture.Tests.Floors.Example.Above;

namespace Tessera.Architecture.Tests.Floors.Example.Below;

internal abstract class ByNothing
{
    public abstract ByNothing Next(List<string> names);
}

internal abstract class ByBase : Base;

internal abstract class ByInterface : IInterface;

internal abstract class ByField
{
    public Value Field = new() { Number = 1 };
}

internal interface IByParameter
{
    void Take(in Value value);
}

internal interface IByResult
{
    Dictionary<int, Value[]>? Result { get; }
}

internal interface IByConstraint
{
    void Take<T>(T value)
        where T : Base;
}

internal static class ByCall
{
    public static void Member() => Tool.Call();
}

internal static class ByFieldAccess
{
    public static int Member() => Tool.Calls;
}

internal static class ByGenericCall
{
    public static object Member() => Array.Empty<Value>();
}

internal static class ByTypeOf
{
    public static Type Member() => typeof(Base);
}

internal static class ByCatch
{
    public static bool Member(Action action)
    {
        try
        {
            action();
            return true;
        }
        catch (CaughtException)
        {
            return false;
        }
    }
}

internal static class ByLambda
{
    public static Func<int> Member(int number) => () => number + Tool.Calls;
}

internal static class ByIterator
{
    public static IEnumerable<int> Member()
    {
        yield return Tool.Calls;
    }
}

[Mark]
internal static class ByAttribute;

[Name(typeof(Base))]
internal static class ByAttributeArgument;

internal abstract class ByNested
{
    protected abstract class Inner : Base;
}
