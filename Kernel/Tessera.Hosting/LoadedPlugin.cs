using System.Reflection;
using System.Runtime.Loader;
using Microsoft.Extensions.DependencyInjection;
using Tessera.Sdk.Cpu;

namespace Tessera.Hosting;

/// <summary>
/// A plugin in a load context of its own. Disposing begins the unload; the assemblies go when nothing of the plugin is reachable any
/// more: instances, options records, exceptions it threw. Instances made before go on working until then. CPU engines and MMU virtualizations
/// stay to the end of the process, and whoever loads the same file again gets the same assemblies.
/// </summary>
public sealed class LoadedPlugin : IDisposable
{
    private readonly AssemblyLoadContext _context;
    private Type? _type;
    private Type? _optionsType;
    private Type? _domainOptionsType;

    internal LoadedPlugin(AssemblyLoadContext context, Type type, PluginInfo info, Type? optionsType, Type? domainOptionsType)
    {
        _context = context;
        _type = type;
        _optionsType = optionsType;
        _domainOptionsType = domainOptionsType;
        Info = info;
        Lifetime = new WeakReference(context, trackResurrection: true);
    }

    /// <summary>The plugin's description; plain data that may outlive the plugin.</summary>
    public PluginInfo Info { get; }

    /// <summary>The options record's type, for <see cref="OptionBinder"/>; null when the plugin has no options.</summary>
    public Type? OptionsType => Alive(_optionsType);

    /// <summary>The per-domain options record's type; null when there is none.</summary>
    public Type? DomainOptionsType => Alive(_domainOptionsType);

    /// <summary>Dead once the plugin's assemblies have gone from memory: shows leaks in tests.</summary>
    public WeakReference Lifetime { get; }

    /// <summary>Makes an instance: its constructor gets the options record and services.</summary>
    /// <typeparam name="T">The contract of the plugin's kind.</typeparam>
    /// <param name="options">An instance of <see cref="OptionsType"/>; null means its defaults.</param>
    /// <param name="services">Where the constructor's other parameters come from.</param>
    /// <exception cref="PluginException">Wrong contract or options type, an unknown service, or the constructor threw.</exception>
    /// <exception cref="EngineException">The constructor found that this host cannot: passed on as it is, for it has its own cure.</exception>
    public T Create<T>(object? options, IServiceProvider services)
        where T : class
    {
        Type type = Alive(_type)!;
        if (!typeof(T).IsAssignableFrom(type))
        {
            throw new PluginException(
                $"{Title} is a {PluginKinds.Title(Info.Kind)} and does not implement {typeof(T).FullName}.",
                $"Ask for {PluginKinds.Contract(Info.Kind).FullName}.");
        }

        options = CheckOptions(options);
        CheckConstructor(type.GetConstructors()[0], options, services);
        try
        {
            return (T)ActivatorUtilities.CreateInstance(services, type, options is null ? [] : [options]);
        }
        catch (EngineException)
        {
            throw;
        }
        catch (Exception exception) when (PluginLoader.IsLoadFailure(exception))
        {
            throw PluginLoader.Explain(Info.Path, exception);
        }
        catch (Exception exception)
        {
            throw new PluginException(
                $"{Title} ({Info.Path}): the constructor of {type.FullName} threw {PluginLoader.Messages(exception)}",
                "Check its options in the configuration; else report this to the plugin's author.",
                exception);
        }
    }

    /// <summary>Begins the unload of a plugin that is not kept.</summary>
    public void Dispose()
    {
        if (_type is null)
            return;
        _type = _optionsType = _domainOptionsType = null;
        if (_context.IsCollectible)
            _context.Unload();
    }

    /// <inheritdoc/>
    public override string ToString() => Title;

    private string Title => $"Plugin \"{Info.Name}\" {Info.Version}";

    private Type? Alive(Type? value)
    {
        ObjectDisposedException.ThrowIf(_type is null, this);
        return value;
    }

    private object? CheckOptions(object? options)
    {
        if (options is null)
            return _optionsType is null ? null : OptionSchema.Of(_optionsType).CreateDefault();
        if (_optionsType is null)
            throw new PluginException($"{Title} has no options, but was given a {options.GetType().FullName}.", "Leave its options out.");
        if (!_optionsType.IsInstanceOfType(options))
        {
            bool sameName = options.GetType().FullName == _optionsType.FullName;
            throw new PluginException(
                $"{Title} takes options of type {_optionsType.FullName}, but was given a {options.GetType().FullName}{(sameName ? " of another load of the plugin" : "")}.",
                "Bind them with OptionBinder to the OptionsType of this very LoadedPlugin.");
        }

        return options;
    }

    private void CheckConstructor(ConstructorInfo constructor, object? options, IServiceProvider services)
    {
        bool takesOptions = false;
        foreach (ParameterInfo parameter in constructor.GetParameters())
        {
            if (options is not null && !takesOptions && parameter.ParameterType.IsInstanceOfType(options))
                takesOptions = true;
            else if (!parameter.HasDefaultValue && !IsService(services, parameter.ParameterType))
            {
                throw new PluginException(
                    $"{Title} ({Info.Path}): its constructor needs {parameter.ParameterType.FullName} {parameter.Name}, which is neither its options record nor a service offered here.",
                    "docs/plugins.md lists what a constructor may take.");
            }
        }

        if (options is not null && !takesOptions)
        {
            throw new PluginException(
                $"{Title} ({Info.Path}): it declares options of type {options.GetType().FullName}, but its constructor does not take them.",
                "Add the parameter, or remove Options from [Plugin].");
        }
    }

    private static bool IsService(IServiceProvider services, Type type) =>
        services.GetService(typeof(IServiceProviderIsService)) is IServiceProviderIsService known ? known.IsService(type) : services.GetService(type) is not null;
}
