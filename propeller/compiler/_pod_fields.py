"""The fields of a Kubernetes PodSpec and of its members, by type.

A line is a struct, then its fields grouped by type; an indented line continues the struct above. `[T]` is a list, `{T}`
a map from strings; s is a string, b a boolean, i and l integers of 32 and 64 bits, q a quantity, t a time, `is` an
integer or a string, any anything.
Source: k8s.io/api/core/v1 of Kubernetes 1.34, which Flyte v1.16.8 is built with.
"""

from __future__ import annotations

TEXT = """
PodSpec [Volume]=volumes [Container]=initContainers,containers [EphemeralContainer]=ephemeralContainers
  s=restartPolicy,dnsPolicy,serviceAccountName,serviceAccount,nodeName,hostname,subdomain,schedulerName
  s=priorityClassName,runtimeClassName,preemptionPolicy,hostnameOverride l=terminationGracePeriodSeconds
  l=activeDeadlineSeconds {s}=nodeSelector b=automountServiceAccountToken,hostNetwork,hostPID,hostIPC
  b=shareProcessNamespace,enableServiceLinks,setHostnameAsFQDN,hostUsers PodSecurityContext=securityContext
  [LocalObjectReference]=imagePullSecrets Affinity=affinity [Toleration]=tolerations [HostAlias]=hostAliases
  i=priority PodDNSConfig=dnsConfig [PodReadinessGate]=readinessGates {q}=overhead
  [TopologySpreadConstraint]=topologySpreadConstraints PodOS=os [PodSchedulingGate]=schedulingGates
  [PodResourceClaim]=resourceClaims ResourceRequirements=resources
Volume s=name HostPathVolumeSource=hostPath EmptyDirVolumeSource=emptyDir
  GCEPersistentDiskVolumeSource=gcePersistentDisk AWSElasticBlockStoreVolumeSource=awsElasticBlockStore
  GitRepoVolumeSource=gitRepo SecretVolumeSource=secret NFSVolumeSource=nfs ISCSIVolumeSource=iscsi
  GlusterfsVolumeSource=glusterfs PersistentVolumeClaimVolumeSource=persistentVolumeClaim RBDVolumeSource=rbd
  FlexVolumeSource=flexVolume CinderVolumeSource=cinder CephFSVolumeSource=cephfs FlockerVolumeSource=flocker
  DownwardAPIVolumeSource=downwardAPI FCVolumeSource=fc AzureFileVolumeSource=azureFile
  ConfigMapVolumeSource=configMap VsphereVirtualDiskVolumeSource=vsphereVolume QuobyteVolumeSource=quobyte
  AzureDiskVolumeSource=azureDisk PhotonPersistentDiskVolumeSource=photonPersistentDisk
  ProjectedVolumeSource=projected PortworxVolumeSource=portworxVolume ScaleIOVolumeSource=scaleIO
  StorageOSVolumeSource=storageos CSIVolumeSource=csi EphemeralVolumeSource=ephemeral ImageVolumeSource=image
Container s=name,image,workingDir,restartPolicy,terminationMessagePath,terminationMessagePolicy,imagePullPolicy
  [s]=command,args [ContainerPort]=ports [EnvFromSource]=envFrom [EnvVar]=env ResourceRequirements=resources
  [ContainerResizePolicy]=resizePolicy [ContainerRestartRule]=restartPolicyRules [VolumeMount]=volumeMounts
  [VolumeDevice]=volumeDevices Probe=livenessProbe,readinessProbe,startupProbe Lifecycle=lifecycle
  SecurityContext=securityContext b=stdin,stdinOnce,tty
EphemeralContainer s=name,image,workingDir,restartPolicy,terminationMessagePath,terminationMessagePolicy
  s=imagePullPolicy,targetContainerName [s]=command,args [ContainerPort]=ports [EnvFromSource]=envFrom [EnvVar]=env
  ResourceRequirements=resources [ContainerResizePolicy]=resizePolicy [ContainerRestartRule]=restartPolicyRules
  [VolumeMount]=volumeMounts [VolumeDevice]=volumeDevices Probe=livenessProbe,readinessProbe,startupProbe
  Lifecycle=lifecycle SecurityContext=securityContext b=stdin,stdinOnce,tty
PodSecurityContext SELinuxOptions=seLinuxOptions WindowsSecurityContextOptions=windowsOptions l=runAsUser,runAsGroup
  l=fsGroup b=runAsNonRoot [l]=supplementalGroups s=supplementalGroupsPolicy,fsGroupChangePolicy,seLinuxChangePolicy
  [Sysctl]=sysctls SeccompProfile=seccompProfile AppArmorProfile=appArmorProfile
LocalObjectReference s=name
Affinity NodeAffinity=nodeAffinity PodAffinity=podAffinity PodAntiAffinity=podAntiAffinity
Toleration s=key,operator,value,effect l=tolerationSeconds
HostAlias s=ip [s]=hostnames
PodDNSConfig [s]=nameservers,searches [PodDNSConfigOption]=options
PodReadinessGate s=conditionType
TopologySpreadConstraint i=maxSkew,minDomains s=topologyKey,whenUnsatisfiable,nodeAffinityPolicy,nodeTaintsPolicy
  LabelSelector=labelSelector [s]=matchLabelKeys
PodOS s=name
PodSchedulingGate s=name
PodResourceClaim s=name,resourceClaimName,resourceClaimTemplateName
ResourceRequirements {q}=limits,requests [ResourceClaim]=claims
HostPathVolumeSource s=path,type
EmptyDirVolumeSource s=medium q=sizeLimit
GCEPersistentDiskVolumeSource s=pdName,fsType i=partition b=readOnly
AWSElasticBlockStoreVolumeSource s=volumeID,fsType i=partition b=readOnly
GitRepoVolumeSource s=repository,revision,directory
SecretVolumeSource s=secretName [KeyToPath]=items i=defaultMode b=optional
NFSVolumeSource s=server,path b=readOnly
ISCSIVolumeSource s=targetPortal,iqn,iscsiInterface,fsType,initiatorName i=lun b=readOnly,chapAuthDiscovery
  b=chapAuthSession [s]=portals LocalObjectReference=secretRef
GlusterfsVolumeSource s=endpoints,path b=readOnly
PersistentVolumeClaimVolumeSource s=claimName b=readOnly
RBDVolumeSource [s]=monitors s=image,fsType,pool,user,keyring LocalObjectReference=secretRef b=readOnly
FlexVolumeSource s=driver,fsType LocalObjectReference=secretRef b=readOnly {s}=options
CinderVolumeSource s=volumeID,fsType b=readOnly LocalObjectReference=secretRef
CephFSVolumeSource [s]=monitors s=path,user,secretFile LocalObjectReference=secretRef b=readOnly
FlockerVolumeSource s=datasetName,datasetUUID
DownwardAPIVolumeSource [DownwardAPIVolumeFile]=items i=defaultMode
FCVolumeSource [s]=targetWWNs,wwids i=lun s=fsType b=readOnly
AzureFileVolumeSource s=secretName,shareName b=readOnly
ConfigMapVolumeSource s=name [KeyToPath]=items i=defaultMode b=optional
VsphereVirtualDiskVolumeSource s=volumePath,fsType,storagePolicyName,storagePolicyID
QuobyteVolumeSource s=registry,volume,user,group,tenant b=readOnly
AzureDiskVolumeSource s=diskName,diskURI,cachingMode,fsType,kind b=readOnly
PhotonPersistentDiskVolumeSource s=pdID,fsType
ProjectedVolumeSource [VolumeProjection]=sources i=defaultMode
PortworxVolumeSource s=volumeID,fsType b=readOnly
ScaleIOVolumeSource s=gateway,system,protectionDomain,storagePool,storageMode,volumeName,fsType
  LocalObjectReference=secretRef b=sslEnabled,readOnly
StorageOSVolumeSource s=volumeName,volumeNamespace,fsType b=readOnly LocalObjectReference=secretRef
CSIVolumeSource s=driver,fsType b=readOnly {s}=volumeAttributes LocalObjectReference=nodePublishSecretRef
EphemeralVolumeSource PersistentVolumeClaimTemplate=volumeClaimTemplate
ImageVolumeSource s=reference,pullPolicy
ContainerPort s=name,protocol,hostIP i=hostPort,containerPort
EnvFromSource s=prefix ConfigMapEnvSource=configMapRef SecretEnvSource=secretRef
EnvVar s=name,value EnvVarSource=valueFrom
ContainerResizePolicy s=resourceName,restartPolicy
ContainerRestartRule s=action ContainerRestartRuleOnExitCodes=exitCodes
VolumeMount s=name,recursiveReadOnly,mountPath,subPath,mountPropagation,subPathExpr b=readOnly
VolumeDevice s=name,devicePath
Probe ExecAction=exec HTTPGetAction=httpGet TCPSocketAction=tcpSocket GRPCAction=grpc i=initialDelaySeconds
  i=timeoutSeconds,periodSeconds,successThreshold,failureThreshold l=terminationGracePeriodSeconds
Lifecycle LifecycleHandler=postStart,preStop s=stopSignal
SecurityContext Capabilities=capabilities b=privileged,runAsNonRoot,readOnlyRootFilesystem,allowPrivilegeEscalation
  SELinuxOptions=seLinuxOptions WindowsSecurityContextOptions=windowsOptions l=runAsUser,runAsGroup s=procMount
  SeccompProfile=seccompProfile AppArmorProfile=appArmorProfile
SELinuxOptions s=user,role,type,level
WindowsSecurityContextOptions s=gmsaCredentialSpecName,gmsaCredentialSpec,runAsUserName b=hostProcess
Sysctl s=name,value
SeccompProfile s=type,localhostProfile
AppArmorProfile s=type,localhostProfile
NodeAffinity NodeSelector=requiredDuringSchedulingIgnoredDuringExecution
  [PreferredSchedulingTerm]=preferredDuringSchedulingIgnoredDuringExecution
PodAffinity [PodAffinityTerm]=requiredDuringSchedulingIgnoredDuringExecution
  [WeightedPodAffinityTerm]=preferredDuringSchedulingIgnoredDuringExecution
PodAntiAffinity [PodAffinityTerm]=requiredDuringSchedulingIgnoredDuringExecution
  [WeightedPodAffinityTerm]=preferredDuringSchedulingIgnoredDuringExecution
PodDNSConfigOption s=name,value
LabelSelector {s}=matchLabels [LabelSelectorRequirement]=matchExpressions
ResourceClaim s=name,request
KeyToPath s=key,path i=mode
DownwardAPIVolumeFile s=path ObjectFieldSelector=fieldRef ResourceFieldSelector=resourceFieldRef i=mode
VolumeProjection SecretProjection=secret DownwardAPIProjection=downwardAPI ConfigMapProjection=configMap
  ServiceAccountTokenProjection=serviceAccountToken ClusterTrustBundleProjection=clusterTrustBundle
  PodCertificateProjection=podCertificate
PersistentVolumeClaimTemplate ObjectMeta=metadata PersistentVolumeClaimSpec=spec
ConfigMapEnvSource s=name b=optional
SecretEnvSource s=name b=optional
EnvVarSource ObjectFieldSelector=fieldRef ResourceFieldSelector=resourceFieldRef ConfigMapKeySelector=configMapKeyRef
  SecretKeySelector=secretKeyRef FileKeySelector=fileKeyRef
ContainerRestartRuleOnExitCodes s=operator [i]=values
ExecAction [s]=command
HTTPGetAction s=path,host,scheme is=port [HTTPHeader]=httpHeaders
TCPSocketAction is=port s=host
GRPCAction i=port s=service
LifecycleHandler ExecAction=exec HTTPGetAction=httpGet TCPSocketAction=tcpSocket SleepAction=sleep
Capabilities [s]=add,drop
NodeSelector [NodeSelectorTerm]=nodeSelectorTerms
PreferredSchedulingTerm i=weight NodeSelectorTerm=preference
PodAffinityTerm LabelSelector=labelSelector,namespaceSelector [s]=namespaces,matchLabelKeys,mismatchLabelKeys
  s=topologyKey
WeightedPodAffinityTerm i=weight PodAffinityTerm=podAffinityTerm
LabelSelectorRequirement s=key,operator [s]=values
ObjectFieldSelector s=apiVersion,fieldPath
ResourceFieldSelector s=containerName,resource q=divisor
SecretProjection s=name [KeyToPath]=items b=optional
DownwardAPIProjection [DownwardAPIVolumeFile]=items
ConfigMapProjection s=name [KeyToPath]=items b=optional
ServiceAccountTokenProjection s=audience,path l=expirationSeconds
ClusterTrustBundleProjection s=name,signerName,path LabelSelector=labelSelector b=optional
PodCertificateProjection s=signerName,keyType,credentialBundlePath,keyPath,certificateChainPath i=maxExpirationSeconds
ObjectMeta s=name,generateName,namespace,selfLink,uid,resourceVersion l=generation,deletionGracePeriodSeconds
  t=creationTimestamp,deletionTimestamp {s}=labels,annotations [OwnerReference]=ownerReferences [s]=finalizers
  [ManagedFieldsEntry]=managedFields
PersistentVolumeClaimSpec [s]=accessModes LabelSelector=selector VolumeResourceRequirements=resources s=volumeName
  s=storageClassName,volumeMode,volumeAttributesClassName TypedLocalObjectReference=dataSource
  TypedObjectReference=dataSourceRef
ConfigMapKeySelector s=name,key b=optional
SecretKeySelector s=name,key b=optional
FileKeySelector s=volumeName,path,key b=optional
HTTPHeader s=name,value
SleepAction l=seconds
NodeSelectorTerm [NodeSelectorRequirement]=matchExpressions,matchFields
OwnerReference s=apiVersion,kind,name,uid b=controller,blockOwnerDeletion
ManagedFieldsEntry s=manager,operation,apiVersion,fieldsType,subresource t=time any=fieldsV1
VolumeResourceRequirements {q}=limits,requests
TypedLocalObjectReference s=apiGroup,kind,name
TypedObjectReference s=apiGroup,kind,name,namespace
NodeSelectorRequirement s=key,operator [s]=values
"""


def _read(text: str) -> dict[str, dict[str, str]]:
    structs: dict[str, dict[str, str]] = {}
    fields: dict[str, str] = {}
    for line in text.splitlines():
        words = line.split()
        if words and not line.startswith(" "):
            fields = structs[words.pop(0)] = {}
        for word in words:
            kind, _, names = word.partition("=")
            fields.update(dict.fromkeys(names.split(","), kind))
    return structs


STRUCTS = _read(TEXT)
"""For each struct the type of each field."""
