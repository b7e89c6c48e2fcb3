//! Stands where LLVM would be linked.
//!
//! NVRTC compiles the kernels for CUDA. The backend contains its other compiler in any case, which calls LLVM: 130 MB in each
//! program that are never executed. So the functions of LLVM that it refers to, and the backend's own around them, are defined
//! here, where the linker comes by first, and nothing of LLVM is taken. A program that is told to use that compiler after all
//! (`cubecl.toml`) ends with a message. Where a linker looks for definitions in another order, LLVM is linked, and all is well but
//! for the size.
#![expect(unsafe_code, reason = "symbols that a linker looks for have names of their own")]

/// Says what is missing, and ends the process: the callers expect values that cannot be made up.
fn absent(function: &str) -> ! {
    eprintln!(
        "{function}: this program was built without LLVM, since NVRTC compiles its kernels. Take the choice of LLVM out of cubecl.toml"
    );
    std::process::abort();
}

macro_rules! absent {
    ($($function:ident),+) => {
        $(
            // SAFETY: LLVM, which has the function of this name, is not linked beside this crate.
            #[unsafe(no_mangle)]
            extern "C" fn $function() -> ! {
                absent(stringify!($function))
            }
        )+
    };
}

absent! {
    LLVMABIAlignmentOfType, LLVMABISizeOfType, LLVMAddAttributeAtIndex, LLVMAddCallSiteAttribute,
    LLVMAddCase, LLVMAddDestination, LLVMAddFunction, LLVMAddGlobal, LLVMAddGlobalInAddressSpace,
    LLVMAddIncoming, LLVMAddNamedMetadataOperand, LLVMAppendBasicBlockInContext, LLVMArrayType2,
    LLVMBFloatTypeInContext, LLVMBasicBlockAsValue, LLVMBlockAddress, LLVMBuildAShr, LLVMBuildAdd,
    LLVMBuildAddrSpaceCast, LLVMBuildAlloca, LLVMBuildAnd, LLVMBuildArrayAlloca,
    LLVMBuildAtomicCmpXchgSyncScope, LLVMBuildAtomicRMWSyncScope, LLVMBuildBitCast, LLVMBuildBr,
    LLVMBuildCall2, LLVMBuildCondBr, LLVMBuildExtractElement, LLVMBuildExtractValue, LLVMBuildFAdd,
    LLVMBuildFCmp, LLVMBuildFDiv, LLVMBuildFMul, LLVMBuildFNeg, LLVMBuildFPExt, LLVMBuildFPToSI,
    LLVMBuildFPToUI, LLVMBuildFPTrunc, LLVMBuildFRem, LLVMBuildFSub, LLVMBuildFenceSyncScope,
    LLVMBuildFreeze, LLVMBuildGEP2, LLVMBuildGEPWithNoWrapFlags, LLVMBuildICmp, LLVMBuildIndirectBr,
    LLVMBuildInsertElement, LLVMBuildInsertValue, LLVMBuildIntToPtr, LLVMBuildLShr, LLVMBuildLoad2,
    LLVMBuildMul, LLVMBuildOr, LLVMBuildPhi, LLVMBuildPtrToInt, LLVMBuildRet, LLVMBuildRetVoid,
    LLVMBuildSDiv, LLVMBuildSExt, LLVMBuildSIToFP, LLVMBuildSRem, LLVMBuildSelect, LLVMBuildShl,
    LLVMBuildShuffleVector, LLVMBuildStore, LLVMBuildStructGEP2, LLVMBuildSub, LLVMBuildSwitch,
    LLVMBuildTrunc, LLVMBuildUDiv, LLVMBuildUIToFP, LLVMBuildURem, LLVMBuildUnreachable, LLVMBuildVAArg,
    LLVMBuildXor, LLVMBuildZExt, LLVMCanValueUseFastMathFlags, LLVMClearInsertionPosition, LLVMConstArray2,
    LLVMConstInt, LLVMConstIntGetZExtValue, LLVMConstNamedStruct, LLVMConstNull, LLVMConstPointerNull,
    LLVMConstReal, LLVMConstRealGetDouble, LLVMConstStringInContext2, LLVMConstVector, LLVMContextCreate,
    LLVMContextDispose, LLVMCopyStringRepOfTargetData, LLVMCountIncoming, LLVMCountParamTypes,
    LLVMCountParams, LLVMCountStructElementTypes, LLVMCreateBuilderInContext, LLVMCreateEnumAttribute,
    LLVMCreateMemoryBufferWithContentsOfFile, LLVMCreateMemoryBufferWithMemoryRangeCopy,
    LLVMCreatePassBuilderOptions, LLVMCreateStringAttribute, LLVMCreateTargetData,
    LLVMCreateTargetDataLayout, LLVMCreateTargetMachine, LLVMCreateTypeAttribute, LLVMDeleteFunction,
    LLVMDeleteGlobal, LLVMDisposeBuilder, LLVMDisposeErrorMessage, LLVMDisposeMemoryBuffer,
    LLVMDisposeMessage, LLVMDisposeModule, LLVMDisposePassBuilderOptions, LLVMDisposeTargetData,
    LLVMDisposeTargetMachine, LLVMDisposeTemporaryMDNode, LLVMDisposeValueMetadataEntries,
    LLVMDoubleTypeInContext, LLVMDumpModule, LLVMDumpType, LLVMDumpValue, LLVMFloatTypeInContext,
    LLVMFunctionType, LLVMGEPGetNoWrapFlags, LLVMGetAggregateElement, LLVMGetAlignment, LLVMGetAllocatedType,
    LLVMGetArrayLength2, LLVMGetAsString, LLVMGetAtomicRMWBinOp, LLVMGetAtomicSyncScopeID,
    LLVMGetAttributeCountAtIndex, LLVMGetAttributesAtIndex, LLVMGetBasicBlockName, LLVMGetBasicBlockParent,
    LLVMGetBasicBlockTerminator, LLVMGetBlockAddressBasicBlock, LLVMGetBlockAddressFunction,
    LLVMGetBufferSize, LLVMGetBufferStart, LLVMGetCallSiteAttributeCount, LLVMGetCallSiteAttributes,
    LLVMGetCalledFunctionType, LLVMGetCalledValue, LLVMGetCmpXchgFailureOrdering,
    LLVMGetCmpXchgSuccessOrdering, LLVMGetConstOpcode, LLVMGetDataLayoutStr, LLVMGetDefaultTargetTriple,
    LLVMGetElementType, LLVMGetEnumAttributeKind, LLVMGetEnumAttributeKindForName, LLVMGetEnumAttributeValue,
    LLVMGetErrorMessage, LLVMGetFCmpPredicate, LLVMGetFastMathFlags, LLVMGetFirstBasicBlock,
    LLVMGetFirstFunction, LLVMGetFirstGlobal, LLVMGetFirstInstruction, LLVMGetFirstNamedMetadata,
    LLVMGetFirstParam, LLVMGetFirstUse, LLVMGetGEPSourceElementType, LLVMGetHostCPUFeatures,
    LLVMGetHostCPUName, LLVMGetICmpPredicate, LLVMGetIncomingBlock, LLVMGetIncomingValue, LLVMGetIndices,
    LLVMGetInitializer, LLVMGetInlineAsm, LLVMGetInlineAsmAsmString, LLVMGetInlineAsmConstraintString,
    LLVMGetInlineAsmFunctionType, LLVMGetInlineAsmHasSideEffects, LLVMGetInsertBlock,
    LLVMGetInstructionOpcode, LLVMGetInstructionParent, LLVMGetIntTypeWidth, LLVMGetIntrinsicDeclaration,
    LLVMGetLastEnumAttributeKind, LLVMGetLastFunction, LLVMGetLastGlobal, LLVMGetLinkage,
    LLVMGetMDKindIDInContext, LLVMGetMDNodeNumOperands, LLVMGetMDNodeOperands, LLVMGetMDString,
    LLVMGetMaskValue, LLVMGetMetadataKind, LLVMGetModuleContext, LLVMGetModuleIdentifier, LLVMGetNNeg,
    LLVMGetNSW, LLVMGetNUW, LLVMGetNamedFunction, LLVMGetNamedGlobal, LLVMGetNamedMetadataName,
    LLVMGetNamedMetadataNumOperands, LLVMGetNamedMetadataOperands, LLVMGetNextBasicBlock,
    LLVMGetNextFunction, LLVMGetNextGlobal, LLVMGetNextInstruction, LLVMGetNextNamedMetadata,
    LLVMGetNextParam, LLVMGetNextUse, LLVMGetNumArgOperands, LLVMGetNumIndices, LLVMGetNumMaskElements,
    LLVMGetNumOperands, LLVMGetOperand, LLVMGetOrdering, LLVMGetParam, LLVMGetParamTypes,
    LLVMGetPointerAddressSpace, LLVMGetPoison, LLVMGetPreviousBasicBlock, LLVMGetPreviousFunction,
    LLVMGetPreviousGlobal, LLVMGetPreviousInstruction, LLVMGetPreviousParam, LLVMGetReturnType,
    LLVMGetStringAttributeKind, LLVMGetStringAttributeValue, LLVMGetStructElementTypes, LLVMGetStructName,
    LLVMGetSwitchCaseValue, LLVMGetSyncScopeID, LLVMGetTarget, LLVMGetTargetFromTriple,
    LLVMGetTypeAttributeValue, LLVMGetTypeContext, LLVMGetTypeKind, LLVMGetUndef, LLVMGetUndefMaskElem,
    LLVMGetUser, LLVMGetValueKind, LLVMGetValueName2, LLVMGetVectorSize, LLVMGetVolatile,
    LLVMGlobalCopyAllMetadata, LLVMGlobalGetValueType, LLVMGlobalSetMetadata, LLVMHalfTypeInContext,
    LLVMInitializeNVPTXAsmPrinter, LLVMInitializeNVPTXTarget, LLVMInitializeNVPTXTargetInfo,
    LLVMInitializeNVPTXTargetMC, LLVMInstructionEraseFromParent,
    LLVMInstructionGetAllMetadataOtherThanDebugLoc, LLVMInt32TypeInContext, LLVMInt8TypeInContext,
    LLVMIntTypeInContext, LLVMIntrinsicIsOverloaded, LLVMIsAAllocaInst, LLVMIsAArgument,
    LLVMIsAAtomicCmpXchgInst, LLVMIsAAtomicRMWInst, LLVMIsABlockAddress, LLVMIsACallInst, LLVMIsAConstant,
    LLVMIsAConstantExpr, LLVMIsAConstantFP, LLVMIsAConstantInt, LLVMIsAExtractElementInst,
    LLVMIsAExtractValueInst, LLVMIsAFCmpInst, LLVMIsAFPToUIInst, LLVMIsAFenceInst, LLVMIsAFunction,
    LLVMIsAGetElementPtrInst, LLVMIsAGlobalObject, LLVMIsAGlobalValue, LLVMIsAGlobalVariable,
    LLVMIsAICmpInst, LLVMIsAIndirectBrInst, LLVMIsAInlineAsm, LLVMIsAInsertElementInst,
    LLVMIsAInsertValueInst, LLVMIsAInstruction, LLVMIsAInvokeInst, LLVMIsALoadInst, LLVMIsAMDNode,
    LLVMIsAMDString, LLVMIsAPHINode, LLVMIsAShuffleVectorInst, LLVMIsAStoreInst, LLVMIsASwitchInst,
    LLVMIsATerminatorInst, LLVMIsAUIToFPInst, LLVMIsAUser, LLVMIsAValueAsMetadata, LLVMIsAZExtInst,
    LLVMIsAtomic, LLVMIsConstant, LLVMIsConstantString, LLVMIsDeclaration, LLVMIsEnumAttribute,
    LLVMIsFunctionVarArg, LLVMIsGlobalConstant, LLVMIsOpaqueStruct, LLVMIsPackedStruct, LLVMIsPoison,
    LLVMIsStringAttribute, LLVMIsTypeAttribute, LLVMIsUndef, LLVMLookupIntrinsicID, LLVMMDNodeInContext2,
    LLVMMDStringInContext2, LLVMMetadataAsValue, LLVMMetadataReplaceAllUsesWith,
    LLVMModuleCreateWithNameInContext, LLVMOffsetOfElement, LLVMOrcAbsoluteSymbols, LLVMOrcCreateLLJIT,
    LLVMOrcCreateNewThreadSafeContextFromLLVMContext, LLVMOrcCreateNewThreadSafeModule, LLVMOrcDisposeLLJIT,
    LLVMOrcDisposeThreadSafeContext, LLVMOrcJITDylibDefine, LLVMOrcLLJITAddLLVMIRModule,
    LLVMOrcLLJITGetMainJITDylib, LLVMOrcLLJITGetTripleString, LLVMOrcLLJITLookup,
    LLVMOrcLLJITMangleAndIntern, LLVMParseIRInContext2, LLVMPointerSizeForAS, LLVMPointerTypeInContext,
    LLVMPositionBuilderAtEnd, LLVMPositionBuilderBefore, LLVMPreferredAlignmentOfType, LLVMPrintModuleToFile,
    LLVMPrintModuleToString, LLVMPrintTypeToString, LLVMPrintValueToString, LLVMReplaceAllUsesWith,
    LLVMRunPasses, LLVMScalableVectorType, LLVMSetAlignment, LLVMSetAtomicSyncScopeID, LLVMSetDataLayout,
    LLVMSetFastMathFlags, LLVMSetFunctionCallConv, LLVMSetGlobalConstant, LLVMSetInitializer, LLVMSetLinkage,
    LLVMSetMetadata, LLVMSetModuleDataLayout, LLVMSetNNeg, LLVMSetOrdering, LLVMSetTarget, LLVMSetVolatile,
    LLVMSizeOfTypeInBits, LLVMStoreSizeOfType, LLVMStructCreateNamed, LLVMStructSetBody,
    LLVMStructTypeInContext, LLVMTargetMachineEmitToMemoryBuffer, LLVMTemporaryMDNode, LLVMTypeIsSized,
    LLVMTypeOf, LLVMValueAsBasicBlock, LLVMValueAsMetadata, LLVMValueIsBasicBlock,
    LLVMValueMetadataEntriesGetKind, LLVMValueMetadataEntriesGetMetadata, LLVMVectorType, LLVMVerifyModule,
    LLVMVoidTypeInContext, LLVMWriteBitcodeToFile, LLVM_InitializeAllAsmParsers,
    LLVM_InitializeAllAsmPrinters, LLVM_InitializeAllDisassemblers, LLVM_InitializeAllTargetInfos,
    LLVM_InitializeAllTargetMCs, LLVM_InitializeAllTargets, LLVM_InitializeNativeAsmParser,
    LLVM_InitializeNativeAsmPrinter, LLVM_InitializeNativeDisassembler, LLVM_InitializeNativeTarget,
    cubecl_free_message, cubecl_link_device_bitcode, cubecl_set_llvm_option
}
