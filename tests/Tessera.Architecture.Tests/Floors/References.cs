using System.Collections.Immutable;
using System.Reflection;
using System.Reflection.Emit;
using System.Reflection.Metadata;
using System.Reflection.Metadata.Ecma335;
using System.Reflection.PortableExecutable;

namespace Tessera.Architecture.Tests.Floors;

/// <summary>One use of a type by another of the same assembly.</summary>
/// <param name="From">The outermost type that uses it.</param>
/// <param name="Member">The member that does; empty for a base type, an interface or an attribute of the type itself.</param>
/// <param name="To">The outermost type that is used.</param>
internal readonly record struct Reference(TypeName From, string Member, TypeName To);

/// <summary>A type's name in two parts.</summary>
internal readonly record struct TypeName(string Namespace, string Name)
{
    public override string ToString() => $"{Namespace}.{Name}";
}

/// <summary>
/// Which types of a compiled assembly use which others of it, by its metadata and the code of its methods. Nested types count as the one that
/// they are in, and so do the compiler's own. What the compiler leaves no trace of (constants, nameof) is no use.
/// </summary>
internal static class References
{
    private static readonly Dictionary<int, OpCode> OpCodes = typeof(OpCodes).GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(field => (OpCode)field.GetValue(null)!).ToDictionary(code => (int)(ushort)code.Value);

    /// <summary>Every type of an assembly, but the nested ones and the compiler's.</summary>
    public static IReadOnlyList<TypeName> TypesOf(string assembly)
    {
        using PEReader file = new(File.OpenRead(assembly));
        MetadataReader reader = file.GetMetadataReader();
        return [.. reader.TypeDefinitions
            .Where(handle => !reader.GetTypeDefinition(handle).IsNested)
            .Select(handle => Name(reader, handle))
            .Where(name => !IsTheCompilers(name))];
    }

    /// <summary>Every use of one type by another.</summary>
    public static IReadOnlyList<Reference> In(string assembly)
    {
        using PEReader file = new(File.OpenRead(assembly));
        MetadataReader reader = file.GetMetadataReader();
        HashSet<Reference> found = [];
        foreach (TypeDefinitionHandle handle in reader.TypeDefinitions)
        {
            TypeName from = Name(reader, Outermost(reader, handle));
            if (IsTheCompilers(from))
                continue;
            foreach ((string member, HashSet<TypeDefinitionHandle> used) in UsesOf(file, reader, handle))
            {
                foreach (TypeName to in used.Select(type => Name(reader, Outermost(reader, type))).Where(to => to != from && !IsTheCompilers(to)))
                    _ = found.Add(new Reference(from, member, to));
            }
        }

        return [.. found];
    }

    private static IEnumerable<(string Member, HashSet<TypeDefinitionHandle> Used)> UsesOf(
        PEReader file, MetadataReader reader, TypeDefinitionHandle handle)
    {
        TypeDefinition type = reader.GetTypeDefinition(handle);
        Collector ofType = new(reader);
        ofType.Add(type.BaseType);
        foreach (InterfaceImplementationHandle implementation in type.GetInterfaceImplementations())
            ofType.Add(reader.GetInterfaceImplementation(implementation).Interface);
        ofType.AddConstraints(type.GetGenericParameters());
        ofType.AddAttributes(type.GetCustomAttributes());
        yield return ("", ofType.Found);

        foreach (FieldDefinitionHandle fieldHandle in type.GetFields())
        {
            FieldDefinition field = reader.GetFieldDefinition(fieldHandle);
            Collector collector = new(reader);
            _ = field.DecodeSignature(collector, null);
            collector.AddAttributes(field.GetCustomAttributes());
            yield return (reader.GetString(field.Name), collector.Found);
        }

        foreach (PropertyDefinitionHandle propertyHandle in type.GetProperties())
        {
            PropertyDefinition property = reader.GetPropertyDefinition(propertyHandle);
            Collector collector = new(reader);
            collector.AddAttributes(property.GetCustomAttributes());
            yield return (reader.GetString(property.Name), collector.Found);
        }

        foreach (MethodDefinitionHandle methodHandle in type.GetMethods())
        {
            MethodDefinition method = reader.GetMethodDefinition(methodHandle);
            Collector collector = new(reader);
            _ = method.DecodeSignature(collector, null);
            collector.AddConstraints(method.GetGenericParameters());
            collector.AddAttributes(method.GetCustomAttributes());
            if (method.RelativeVirtualAddress != 0)
                collector.AddBody(file.GetMethodBody(method.RelativeVirtualAddress));
            yield return (reader.GetString(method.Name), collector.Found);
        }
    }

    private static TypeName Name(MetadataReader reader, TypeDefinitionHandle handle)
    {
        TypeDefinition type = reader.GetTypeDefinition(handle);
        return new(reader.GetString(type.Namespace), reader.GetString(type.Name).Split('`')[0]);
    }

    private static TypeDefinitionHandle Outermost(MetadataReader reader, TypeDefinitionHandle handle)
    {
        while (reader.GetTypeDefinition(handle).GetDeclaringType() is { IsNil: false } outer)
            handle = outer;
        return handle;
    }

    // What the compiler makes for an assembly as a whole: <Module>, <PrivateImplementationDetails>, inline arrays, its attributes.
    private static bool IsTheCompilers(TypeName name) =>
        name.Name.StartsWith('<') || name.Namespace is "Microsoft.CodeAnalysis" or "System.Runtime.CompilerServices";

    /// <summary>Gathers the assembly's own types that a piece of metadata names.</summary>
    private sealed class Collector(MetadataReader reader) : ISignatureTypeProvider<int, object?>, ICustomAttributeTypeProvider<int>
    {
        private const int TwoByteOpCode = 0xfe;

        // What the decoder asks to have told apart: System.Type, as an attribute's argument, from all else.
        private const int SystemType = 1;

        public HashSet<TypeDefinitionHandle> Found { get; } = [];

        public void Add(EntityHandle handle)
        {
            if (handle.IsNil)
                return;
            switch (handle.Kind)
            {
                case HandleKind.TypeDefinition:
                    _ = Found.Add((TypeDefinitionHandle)handle);
                    break;
                case HandleKind.TypeSpecification:
                    _ = reader.GetTypeSpecification((TypeSpecificationHandle)handle).DecodeSignature(this, null);
                    break;
                case HandleKind.FieldDefinition:
                    FieldDefinition field = reader.GetFieldDefinition((FieldDefinitionHandle)handle);
                    _ = Found.Add(field.GetDeclaringType());
                    _ = field.DecodeSignature(this, null);
                    break;
                case HandleKind.MethodDefinition:
                    MethodDefinition method = reader.GetMethodDefinition((MethodDefinitionHandle)handle);
                    _ = Found.Add(method.GetDeclaringType());
                    _ = method.DecodeSignature(this, null);
                    break;
                case HandleKind.MemberReference:
                    MemberReference member = reader.GetMemberReference((MemberReferenceHandle)handle);
                    Add(member.Parent);
                    if (member.GetKind() == MemberReferenceKind.Field)
                        _ = member.DecodeFieldSignature(this, null);
                    else
                        _ = member.DecodeMethodSignature(this, null);
                    break;
                case HandleKind.MethodSpecification:
                    MethodSpecification specification = reader.GetMethodSpecification((MethodSpecificationHandle)handle);
                    Add(specification.Method);
                    _ = specification.DecodeSignature(this, null);
                    break;
                case HandleKind.StandaloneSignature:
                    StandaloneSignature signature = reader.GetStandaloneSignature((StandaloneSignatureHandle)handle);
                    if (signature.GetKind() == StandaloneSignatureKind.LocalVariables)
                        _ = signature.DecodeLocalSignature(this, null);
                    else
                        _ = signature.DecodeMethodSignature(this, null);
                    break;
                default:
                    break;
            }
        }

        public void AddConstraints(GenericParameterHandleCollection parameters)
        {
            foreach (GenericParameterHandle parameter in parameters)
            {
                foreach (GenericParameterConstraintHandle constraint in reader.GetGenericParameter(parameter).GetConstraints())
                    Add(reader.GetGenericParameterConstraint(constraint).Type);
            }
        }

        public void AddAttributes(CustomAttributeHandleCollection attributes)
        {
            foreach (CustomAttributeHandle handle in attributes)
            {
                CustomAttribute attribute = reader.GetCustomAttribute(handle);
                Add(attribute.Constructor);
                _ = attribute.DecodeValue(this);
            }
        }

        public void AddBody(MethodBodyBlock body)
        {
            Add(body.LocalSignature);
            foreach (ExceptionRegion region in body.ExceptionRegions)
                Add(region.CatchType);
            BlobReader code = body.GetILReader();
            while (code.RemainingBytes > 0)
            {
                int value = code.ReadByte();
                OpCode instruction = OpCodes[value == TwoByteOpCode ? (value << 8) | code.ReadByte() : value];
                switch (instruction.OperandType)
                {
                    case OperandType.InlineField or OperandType.InlineMethod or OperandType.InlineTok
                        or OperandType.InlineType or OperandType.InlineSig:
                        Add(MetadataTokens.EntityHandle(code.ReadInt32()));
                        break;
                    case OperandType.InlineSwitch:
                        int cases = code.ReadInt32();
                        code.Offset += cases * sizeof(int);
                        break;
                    case OperandType.InlineNone:
                        break;
                    case OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar:
                        code.Offset += 1;
                        break;
                    case OperandType.InlineVar:
                        code.Offset += 2;
                        break;
                    case OperandType.InlineI8 or OperandType.InlineR:
                        code.Offset += 8;
                        break;
                    default:
                        code.Offset += 4;
                        break;
                }
            }
        }

        public int GetTypeFromDefinition(MetadataReader reader, TypeDefinitionHandle handle, byte rawTypeKind)
        {
            _ = Found.Add(handle);
            return 0;
        }

        public int GetTypeFromSpecification(MetadataReader reader, object? genericContext, TypeSpecificationHandle handle, byte rawTypeKind)
        {
            Add(handle);
            return 0;
        }

        // typeof in an attribute: "Namespace.Outer+Nested", and the assembly behind a comma when it is another.
        public int GetTypeFromSerializedName(string name)
        {
            string outermost = name.Split('+', '`', '[')[0];
            foreach (TypeDefinitionHandle handle in outermost.Contains(',', StringComparison.Ordinal) ? [] : reader.TypeDefinitions)
            {
                if (!reader.GetTypeDefinition(handle).IsNested && Name(reader, handle).ToString() == outermost)
                    _ = Found.Add(handle);
            }

            return 0;
        }

        public PrimitiveTypeCode GetUnderlyingEnumType(int type) => PrimitiveTypeCode.Int32;

        public bool IsSystemType(int type) => type == SystemType;

        public int GetArrayType(int elementType, ArrayShape shape) => 0;

        public int GetByReferenceType(int elementType) => 0;

        public int GetFunctionPointerType(MethodSignature<int> signature) => 0;

        public int GetGenericInstantiation(int genericType, ImmutableArray<int> typeArguments) => 0;

        public int GetGenericMethodParameter(object? genericContext, int index) => 0;

        public int GetGenericTypeParameter(object? genericContext, int index) => 0;

        public int GetModifiedType(int modifier, int unmodifiedType, bool isRequired) => 0;

        public int GetPinnedType(int elementType) => 0;

        public int GetPointerType(int elementType) => 0;

        public int GetPrimitiveType(PrimitiveTypeCode typeCode) => 0;

        public int GetSZArrayType(int elementType) => 0;

        public int GetSystemType() => SystemType;

        public int GetTypeFromReference(MetadataReader reader, TypeReferenceHandle handle, byte rawTypeKind)
        {
            TypeReference type = reader.GetTypeReference(handle);
            bool isType = reader.StringComparer.Equals(type.Namespace, nameof(System)) && reader.StringComparer.Equals(type.Name, nameof(Type));
            return isType ? SystemType : 0;
        }
    }
}
