using System.Reflection;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>An options record as its attributes describe it, checked for mistakes of its author.</summary>
internal sealed class OptionSchema
{
    private readonly Type _type;

    private OptionSchema(Type type)
    {
        _type = type;
        object defaults = CreateDefault();
        Entries = [.. type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(property => property.CanWrite)
            .Select(property => OptionEntry.Of(property, OptionFormat.For(property.PropertyType), defaults))];
    }

    public IReadOnlyList<OptionEntry> Entries { get; }

    /// <exception cref="ArgumentException">The record is not what <see cref="OptionAttribute"/> asks for.</exception>
    public static OptionSchema Of(Type type)
    {
        if (type.IsAbstract || (!type.IsValueType && type.GetConstructor(Type.EmptyTypes) is null))
            throw new ArgumentException($"The options record {type.FullName} has no public constructor without parameters; give it init properties instead.");
        return new(type);
    }

    public object CreateDefault()
    {
        try
        {
            return Activator.CreateInstance(_type)!;
        }
        catch (TargetInvocationException exception)
        {
            throw new ArgumentException($"The constructor of the options record {_type.FullName} threw {PluginLoader.Messages(exception.InnerException!)}", exception);
        }
    }
}
