using System.Reflection;
using System.Text.Json;
using Tessera.Sdk.Plugins;

namespace Tessera.Hosting;

/// <summary>An options record as its attributes describe it, checked for mistakes of its author.</summary>
internal sealed class OptionSchema
{
    private readonly Type _type;

    private OptionSchema(Type type, IReadOnlyList<Entry> entries)
    {
        _type = type;
        Entries = entries;
    }

    public IReadOnlyList<Entry> Entries { get; }

    /// <exception cref="ArgumentException">The record is not what <see cref="OptionAttribute"/> asks for.</exception>
    public static OptionSchema Of(Type type)
    {
        if (type.IsAbstract || (!type.IsValueType && type.GetConstructor(Type.EmptyTypes) is null))
            throw new ArgumentException($"The options record {type.FullName} has no public constructor without parameters; give it init properties instead.");
        List<Entry> entries = [];
        OptionSchema schema = new(type, entries);
        object defaults = schema.CreateDefault();
        foreach (PropertyInfo property in type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(property => property.CanWrite))
            entries.Add(Read(type, property, defaults));
        return schema;
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

    private static Entry Read(Type type, PropertyInfo property, object defaults)
    {
        string where = $"The option {type.FullName}.{property.Name}";
        OptionAttribute attribute = property.GetCustomAttribute<OptionAttribute>() ?? throw new ArgumentException($"{where} has no [Option] attribute.");
        OptionFormat format = OptionFormat.For(property.PropertyType)
            ?? throw new ArgumentException($"{where} has the type {property.PropertyType}; options are bool, int, long, double, string, an enum, Nanoseconds or ByteSize.");
        object? value = property.GetValue(defaults);
        Entry entry = new(
            JsonNamingPolicy.CamelCase.ConvertName(property.Name),
            property,
            attribute.Summary,
            format,
            value,
            Bound(where, "Min", attribute.Min, format) ?? format.ImplicitMin,
            Bound(where, "Max", attribute.Max, format),
            attribute.IsPath);
        if (entry.IsPath && property.PropertyType != typeof(string))
            throw new ArgumentException($"{where} is marked as a path but is not a string.");
        if (entry.Min is not null && entry.Max is not null && format.Compare(entry.Min, entry.Max) > 0)
            throw new ArgumentException($"{where}: Min {format.Format(entry.Min)} is above Max {format.Format(entry.Max)}.");
        if (value is not null && entry.OutOfRange(value) is { } problem)
            throw new ArgumentException($"{where}: its default {problem}.");
        return entry;
    }

    private static object? Bound(string where, string name, string? text, OptionFormat format)
    {
        if (text is null)
            return null;
        return format.TryParseBound(text, out object value) ? value : throw new ArgumentException($"{where}: {name} \"{text}\" is not a bound of its type ({format.Type}).");
    }

    internal sealed record Entry(string Key, PropertyInfo Property, string Summary, OptionFormat Format, object? Default, object? Min, object? Max, bool IsPath)
    {
        /// <summary>Says what bounds a value breaks; null when none.</summary>
        public string? OutOfRange(object value)
        {
            bool low = Min is not null && Format.Compare(value, Min) < 0;
            bool high = Max is not null && Format.Compare(value, Max) > 0;
            if (!low && !high)
                return null;
            string range = (Min, Max) switch
            {
                (null, _) => $"at most {Format.Format(Max)}",
                (_, null) => $"at least {Format.Format(Min)}",
                _ => $"from {Format.Format(Min)} to {Format.Format(Max)}",
            };
            return $"is {Format.Format(value)}, and must be {range}";
        }

        public OptionInfo Describe() => new(
            Key,
            Format.Type,
            Format.Unit,
            Format.Format(Default),
            Min is null ? null : Format.Format(Min),
            Max is null ? null : Format.Format(Max),
            Summary,
            Format.Choices);
    }
}
